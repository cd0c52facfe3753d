"""Cascade Mask R-CNN with ConvNeXt-L on COCO, 36 epochs in single precision: the authors' recipe.

The backbone starts from ImageNet-22k weights.
"""

_base_ = [
    '_base_/models_cascade_mask_rcnn_convnext.py',
    '_base_/coco.py',
    '_base_/schedule_coco_3x.py',
    '_base_/default_runtime_detection.py',
]
model = dict(
    backbone=dict(
        arch='large',
        drop_path_rate=0.7,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth',
        ),
    ),
    neck=dict(in_channels=[192, 384, 768, 1536]),
)
