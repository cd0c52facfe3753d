"""Mask R-CNN, ResNet-50, nuclei in microscopy images, from random weights: what ConvNeXt-T is compared with.

Heads, data, augmentation, schedule, EMA and optimizer are those of mask_rcnn_convnext_t_nuclei.py; the backbone is
mmdet's, its batch norms trained, no stage frozen.

Command:  python tools/train.py configs/mask_rcnn_r50_nuclei.py           one GPU; the data: _base_/nuclei.py
          python tools/test.py configs/mask_rcnn_r50_nuclei.py CHECKPOINT [--tta] [--per-class]
Expected: no published score. Ours: not yet run.
"""

_base_ = 'mask_rcnn_convnext_t_nuclei.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='ResNet',
        depth=50,
        frozen_stages=-1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=False,
        zero_init_residual=True,
    ),
    neck=dict(in_channels=[256, 512, 1024, 2048]),
)
optim_wrapper = dict(
    constructor='DefaultOptimWrapperConstructor',
    paramwise_cfg=dict(
        _delete_=True, norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0
    ),
)
