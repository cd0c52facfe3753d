"""Cascade Mask R-CNN, ConvNeXt-S, COCO, 36 epochs: the authors' recipe.

Paper:    arXiv:2201.03545 table 3; facebookresearch/ConvNeXt object_detection/configs/convnext/cascade_mask_rcnn_
          convnext_small_patch4_window7_mstrain_480-800_giou_4conv1f_adamw_3x_coco_in1k.py @ 048efce
Command:  bash tools/dist_train.sh configs/cascade_mask_rcnn_convnext_s_coco.py 8        8 GPUs x 2 images
          python tools/test.py configs/cascade_mask_rcnn_convnext_s_coco.py CHECKPOINT [--tta] [--per-class]
Cost:     108 M parameters, 827 GMACs at 1280 x 800 (the authors' count)
Expected: 51.9 box AP, 45.0 mask AP (the authors' scores). Ours: not yet run.
"""

_base_ = 'cascade_mask_rcnn_convnext_t_coco.py'
model = dict(
    backbone=dict(
        arch='small',
        drop_path_rate=0.6,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_small_1k_224.pth'
        ),
    )
)
optim_wrapper = dict(paramwise_cfg=dict(num_layers=12))
