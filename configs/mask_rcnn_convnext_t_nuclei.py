"""Mask R-CNN with ConvNeXt-T on nuclei, from random weights; compare mask_rcnn_r50_nuclei.py."""

_base_ = ['_base_/models_mask_rcnn_convnext.py', '_base_/nuclei.py']
norm_cfg = dict(type='GN', num_groups=32)
model = dict(
    backbone=dict(arch='tiny', drop_path_rate=0.2, layer_scale_init_value=1.0),
    neck=dict(in_channels=[96, 192, 384, 768], norm_cfg=norm_cfg),
    rpn_head=dict(anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_head=dict(
            type='Shared4Conv1FCBBoxHead', conv_out_channels=256, norm_cfg=norm_cfg, num_classes=1
        ),
        mask_head=dict(norm_cfg=norm_cfg, num_classes=1),
    ),
    test_cfg=dict(rcnn=dict(max_per_img=400)),
)
optim_wrapper = dict(
    type='AmpOptimWrapper',
    loss_scale='dynamic',
    clip_grad=dict(max_norm=5.0),
    optimizer=dict(lr=4e-4),
    # Nothing is pretrained: all layers have the same learning rate.
    paramwise_cfg=dict(_delete_=True, decay_rate=1.0),
)
