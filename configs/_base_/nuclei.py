"""Nuclei in microscopy images: 400 training, 100 validation images, 21,912 masks, one class.

The images are those of the 2018 Data Science Bowl (CC0), as COCO files::

    data/nuclei/annotations/{train,val}.json
    data/nuclei/{train,val}/*.jpg

Half of the training images are 256 x 256, the largest is 1388 x 1040. An image has 28 nuclei
(median; at most 375) of 20 x 20 pixels (median; 5 % are below 7 x 7). Crops of 256 pixels are
therefore enlarged 1.5 to 3 times (2 times in a test), anchors start at 16 pixels in the enlarged
image, and up to 400 boxes are kept. AP uses the best 100 boxes of an image, as for COCO; AP50 and
AP75 use the best 1,000 (mmdet's CocoMetric).

The budget is 3,000 iterations of 16 crops, 120 for each image, in fp16: mmdet computes anchors in
the model's precision, and bf16 would round their corners to multiples of 4 pixels.
"""

_base_ = ['coco.py', 'schedule_coco_3x.py', 'default_runtime_detection.py']
data_root = 'data/nuclei'
max_iters = 3000
metainfo = dict(classes=('nucleus',), palette=[(220, 20, 60)])
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomCrop', crop_size=(256, 256)),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='Resize', scale_factor=factor, keep_ratio=True)]
            for factor in (1.5, 1.75, 2.0, 2.25, 2.5, 3.0)
        ],
    ),
    dict(
        type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal']
    ),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale_factor=2.0, keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=_base_.meta_keys[:5]),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=12,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    batch_sampler=None,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/train.json',
        data_prefix=dict(img='train/'),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    num_workers=4,
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file='annotations/val.json',
        data_prefix=dict(img='val/'),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=f'{data_root}/annotations/val.json')
test_evaluator = val_evaluator
tta_model = dict(tta_cfg=dict(max_per_img=400))
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale_factor=factor, keep_ratio=True)
                for factor in (1.5, 2.0, 2.5)
            ],
            [
                dict(type='RandomFlip', prob=float(prob), direction=direction)
                for prob, direction in (
                    (0, 'horizontal'),
                    (1, 'horizontal'),
                    (1, 'vertical'),
                    (1, 'diagonal'),
                )
            ],
            [dict(type='LoadAnnotations', with_bbox=True, with_mask=True)],
            [dict(type='PackDetInputs', meta_keys=_base_.meta_keys)],
        ],
    ),
]

train_cfg = dict(
    _delete_=True, type='IterBasedTrainLoop', max_iters=max_iters, val_interval=max_iters // 6
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=201),
    dict(
        type='CosineAnnealingLR',
        T_max=max_iters,
        eta_min=0.0,
        by_epoch=False,
        begin=0,
        end=max_iters,
    ),
]
log_processor = dict(by_epoch=False)
default_hooks = dict(
    logger=dict(log_metric_by_epoch=False), checkpoint=dict(by_epoch=False, interval=max_iters // 6)
)
custom_hooks = [
    dict(type='convnext_dense.LearningRateRangeHook'),
    dict(type='convnext_dense.ProgressHook'),
    dict(type='convnext_dense.DetectionPictureHook', count=8),
    dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.002, update_buffers=True),
]
randomness = dict(seed=0)
