"""Mask R-CNN with ConvNeXt-atto on drawn scenes, from random weights, in minutes on a CPU."""

_base_ = [
    '_base_/models_mask_rcnn_convnext.py',
    '_base_/coco.py',
    '_base_/default_runtime_detection.py',
]
data_root = 'data/sample/coco'
# Those of COCO's 80 classes that the scenes contain.
metainfo = dict(
    classes=('person', 'car', 'bus', 'truck', 'traffic light', 'dog'),
    palette=[
        (220, 20, 60),
        (0, 130, 255),
        (255, 165, 0),
        (150, 70, 220),
        (0, 200, 190),
        (120, 200, 60),
    ],
)
num_classes = len(metainfo['classes'])
max_iters = 1600
# Without stride 4, which has three quarters of all pixels: the objects of the scenes are large.
strides = [8, 16, 32]
norm_cfg = dict(type='BN')
roi_extractor = dict(roi_layer=dict(sampling_ratio=1), out_channels=64, featmap_strides=strides)
proposals = dict(nms_pre=400, max_per_img=200)
model = dict(
    backbone=dict(arch='atto', layer_scale_init_value=1.0),
    neck=dict(
        in_channels=[40, 80, 160, 320],
        out_channels=64,
        start_level=1,
        num_outs=4,
        norm_cfg=norm_cfg,
    ),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        # 32 to 256 pixels; traffic lights are tall
        anchor_generator=dict(scales=[4], ratios=[0.5, 1.0, 2.0, 4.0], strides=[*strides, 64]),
    ),
    roi_head=dict(
        bbox_roi_extractor=roi_extractor,
        bbox_head=dict(in_channels=64, fc_out_channels=256, num_classes=num_classes),
        mask_roi_extractor=roi_extractor,
        mask_head=dict(
            num_convs=2,
            in_channels=64,
            conv_out_channels=64,
            num_classes=num_classes,
            norm_cfg=norm_cfg,
        ),
    ),
    train_cfg=dict(
        rpn=dict(assigner=dict(pos_iou_thr=0.6), sampler=dict(num=128)),
        rpn_proposal=proposals,
        rcnn=dict(sampler=dict(num=64)),
    ),
    test_cfg=dict(rpn=proposals, rcnn=dict(max_per_img=50)),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomResize', scale=(640, 160), ratio_range=(0.75, 1.25), keep_ratio=True),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(640, 176), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=_base_.meta_keys[:5]),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [dict(type='Resize', scale=(640, short), keep_ratio=True) for short in (144, 176, 208)],
            *_base_.tta_pipeline[1]['transforms'][1:],
        ],
    ),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True),
    batch_sampler=None,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        filter_cfg=dict(filter_empty_gt=False),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=1, dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=test_pipeline)
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=f'{data_root}/annotations/instances_val2017.json')
test_evaluator = val_evaluator
optim_wrapper = dict(
    type='OptimWrapper',
    clip_grad=dict(max_norm=5.0),
    optimizer=dict(type='AdamW', lr=2e-3, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='convnext_dense.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=0.95, decay_type='layer_wise'),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=101),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=max_iters + 1),
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters // 2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
log_processor = dict(by_epoch=False)
auto_scale_lr = dict(enable=False, base_batch_size=4)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=max_iters // 2),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
custom_hooks = [
    dict(type='convnext_dense.LearningRateRangeHook'),
    dict(type='convnext_dense.ProgressHook'),
    dict(type='convnext_dense.DetectionPictureHook', count=16),
]
randomness = dict(seed=0)
