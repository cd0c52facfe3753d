"""Mask R-CNN with ConvNeXt-T on COCO, 36 epochs in mixed precision: the authors' recipe."""

_base_ = [
    '_base_/models_mask_rcnn_convnext.py',
    '_base_/coco.py',
    '_base_/schedule_coco_3x.py',
    '_base_/default_runtime_detection.py',
]
model = dict(
    backbone=dict(
        arch='tiny',
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224.pth',
        ),
    ),
    neck=dict(in_channels=[96, 192, 384, 768]),
)
optim_wrapper = dict(
    type='AmpOptimWrapper', loss_scale='dynamic', paramwise_cfg=dict(decay_rate=0.95)
)
