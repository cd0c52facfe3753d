"""Mask R-CNN with ResNet-50 on nuclei, to compare with mask_rcnn_convnext_t_nuclei.py.

Only the backbone differs: it is mmdet's, its batch norms are trained and no stage is frozen.
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
