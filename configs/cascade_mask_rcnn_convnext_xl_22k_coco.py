"""Cascade Mask R-CNN with ConvNeXt-XL on COCO: the authors' recipe, L's with more drop path."""

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
