"""Cascade Mask R-CNN, ConvNeXt-B pretrained on ImageNet-22k, COCO, 36 epochs: the authors' recipe.

Paper:    arXiv:2201.03545 table 3; facebookresearch/ConvNeXt object_detection/configs/convnext/cascade_mask_rcnn_
          convnext_base_patch4_window7_mstrain_480-800_giou_4conv1f_adamw_3x_coco_in22k.py @ 048efce
Command:  bash tools/dist_train.sh configs/cascade_mask_rcnn_convnext_b_22k_coco.py 8        8 GPUs x 2 images
          python tools/test.py configs/cascade_mask_rcnn_convnext_b_22k_coco.py CHECKPOINT [--tta] [--per-class]
Cost:     146 M parameters, 964 GMACs at 1280 x 800 (the authors' count)
Expected: 54.0 box AP, 46.9 mask AP (the authors' scores). Ours: not yet run.
"""

_base_ = 'cascade_mask_rcnn_convnext_t_coco.py'
model = dict(
    backbone=dict(
        arch='base',
        drop_path_rate=0.6,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_224.pth'
        ),
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
optim_wrapper = dict(optimizer=dict(lr=1e-4), paramwise_cfg=dict(decay_rate=0.8, num_layers=12))
