"""Cascade Mask R-CNN with ConvNeXt-S on COCO: the authors' recipe, T's with more drop path."""

_base_ = 'cascade_mask_rcnn_convnext_t_coco.py'
model = dict(
    backbone=dict(
        arch='small',
        drop_path_rate=0.6,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_small_1k_224.pth'
        ),
    ),
)
