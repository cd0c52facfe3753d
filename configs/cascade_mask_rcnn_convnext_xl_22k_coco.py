"""Cascade Mask R-CNN, ConvNeXt-XL pretrained on ImageNet-22k, COCO, 36 epochs: the authors' recipe.

Paper:    arXiv:2201.03545 table 3; facebookresearch/ConvNeXt object_detection/configs/convnext/cascade_mask_rcnn_
          convnext_xlarge_patch4_window7_mstrain_480-800_giou_4conv1f_adamw_3x_coco_in22k.py @ 048efce
Command:  bash tools/dist_train.sh configs/cascade_mask_rcnn_convnext_xl_22k_coco.py 8        8 GPUs x 2 images
          python tools/test.py configs/cascade_mask_rcnn_convnext_xl_22k_coco.py CHECKPOINT [--tta] [--per-class]
Cost:     407 M parameters, 1,898 GMACs at 1280 x 800 (the authors' count); single precision
Expected: 55.2 box AP, 47.7 mask AP (the authors' scores). Ours: not yet run.
"""

_base_ = 'cascade_mask_rcnn_convnext_l_22k_coco.py'
model = dict(
    backbone=dict(
        arch='xlarge',
        drop_path_rate=0.8,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_xlarge_22k_224.pth'
        ),
    ),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
