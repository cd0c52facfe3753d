"""UperNet with ConvNeXt-atto on drawn scenes, from random weights: what ``make train`` runs."""

_base_ = [
    '_base_/models_upernet_convnext.py',
    '_base_/ade20k.py',
    '_base_/schedule_160k.py',
    '_base_/default_runtime.py',
]
data_root = 'data/sample/ade/ADEChallengeData2016'
# Those of ADE20K's 150 classes that the scenes contain; mmseg maps the labels to these.
metainfo = dict(
    classes=(
        'building',
        'sky',
        'tree',
        'road',
        'grass',
        'sidewalk',
        'person',
        'mountain',
        'car',
        'sea',
        'fence',
        'signboard',
        'sand',
        'streetlight',
    )
)
num_classes = len(metainfo['classes'])
crop_size = (192, 192)
max_iters = 1400
norm_cfg = dict(type='BN', requires_grad=True)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(arch='atto', layer_scale_init_value=1.0),
    decode_head=dict(
        in_channels=[40, 80, 160, 320], channels=64, num_classes=num_classes, norm_cfg=norm_cfg
    ),
    auxiliary_head=None,  # its loss would take a third of an iteration's time on a CPU
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=(640, 224), ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale_factor=ratio, keep_ratio=True)
                for ratio in (0.8, 1.0, 1.25, 1.5)
            ],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=1, dataset=dict(data_root=data_root, metainfo=metainfo, pipeline=test_pipeline)
)
test_dataloader = val_dataloader
optim_wrapper = dict(
    clip_grad=dict(max_norm=5.0),
    optimizer=dict(lr=3e-3),
    paramwise_cfg=dict(decay_rate=0.95, decay_type='layer_wise'),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=51),
    dict(type='PolyLR', power=1.0, eta_min=0.0, by_epoch=False, begin=0, end=max_iters + 1),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 2)
default_hooks = dict(checkpoint=dict(interval=max_iters // 2), logger=dict(interval=50))
custom_hooks = [
    dict(type='convnext_dense.LearningRateRangeHook'),
    dict(type='convnext_dense.ProgressHook'),
    dict(type='convnext_dense.SegmentationPictureHook', count=16),
]
randomness = dict(seed=0)
auto_scale_lr = dict(base_batch_size=4)
