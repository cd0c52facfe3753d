"""UperNet with ConvNeXt-T on CamVid, from random weights.

CamVid has 367 training images of 480 x 360 pixels and 11 classes. The files are laid out as those
of ADE20K, with label 0 for no class and 1 to 11 in the order of ``metainfo``::

    data/camvid/{images,annotations}/{training,validation}/
"""

_base_ = [
    '_base_/models_upernet_convnext.py',
    '_base_/ade20k.py',
    '_base_/schedule_160k.py',
    '_base_/default_runtime.py',
]
data_root = 'data/camvid'
metainfo = dict(
    classes=(
        'sky',
        'building',
        'pole',
        'road',
        'sidewalk',
        'tree',
        'sign',
        'fence',
        'car',
        'pedestrian',
        'bicyclist',
    ),
    palette=[
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (0, 0, 192),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ],
)
crop_size = (384, 512)
# 1.5 times the size of the images: poles and signs are thinner than the network's stride of 4.
scale = (720, 540)
max_iters = 12000
norm_cfg = dict(type='BN', requires_grad=True)
# The fourth root of median frequency balancing (arXiv:1411.4734) raises rare classes a little. The
# Lovasz loss (arXiv:1705.08790) optimizes the IoU of every class directly.
class_weight = [0.73, 0.67, 1.48, 0.62, 1.0, 0.81, 1.40, 1.19, 0.94, 1.59, 1.73]
cross_entropy = dict(type='CrossEntropyLoss', class_weight=class_weight)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(arch='tiny', drop_path_rate=0.3, layer_scale_init_value=1.0),
    decode_head=dict(
        in_channels=[96, 192, 384, 768],
        channels=256,
        num_classes=11,
        norm_cfg=norm_cfg,
        loss_decode=[
            dict(cross_entropy, loss_name='loss_ce', loss_weight=1.0),
            dict(type='LovaszLoss', loss_name='loss_lovasz', reduction='none', loss_weight=0.5),
        ],
    ),
    auxiliary_head=dict(
        in_channels=384,
        num_classes=11,
        norm_cfg=norm_cfg,
        loss_decode=dict(_delete_=True, **cross_entropy, loss_weight=0.4),
    ),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='RandomResize', scale=scale, ratio_range=(0.6, 1.8), keep_ratio=True),
    dict(type='RandomRotate', prob=0.5, degree=10.0, pad_val=0, seg_pad_val=255),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(
        type='RandomCutOut',
        prob=0.5,
        n_holes=(1, 4),
        cutout_shape=[(32, 32), (64, 64)],
        seg_fill_in=255,
    ),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=scale, keep_ratio=True),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='TestTimeAug',
        transforms=[
            [
                dict(type='Resize', scale=(int(720 * ratio), int(540 * ratio)), keep_ratio=True)
                for ratio in (0.75, 1.0, 1.25, 1.5)
            ],
            [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
            [dict(type='LoadAnnotations')],
            [dict(type='PackSegInputs')],
        ],
    ),
]
dataset = dict(
    type='BaseSegDataset', data_root=data_root, metainfo=metainfo, reduce_zero_label=True
)
train_dataloader = dict(
    batch_size=16, num_workers=14, dataset=dict(**dataset, pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(**dataset, pipeline=test_pipeline))
test_dataloader = val_dataloader
optim_wrapper = dict(
    type='AmpOptimWrapper',
    dtype='bfloat16',
    clip_grad=dict(max_norm=5.0),
    optimizer=dict(lr=1e-3),
    # Nothing is pretrained: all layers have the same learning rate.
    paramwise_cfg=dict(_delete_=True, decay_rate=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=501),
    dict(
        type='CosineAnnealingLR',
        T_max=max_iters,
        eta_min=0.0,
        by_epoch=False,
        begin=0,
        end=max_iters,
    ),
]
train_cfg = dict(max_iters=max_iters, val_interval=max_iters // 6)
default_hooks = dict(checkpoint=dict(interval=max_iters // 6))
custom_hooks = [
    dict(type='convnext_dense.LearningRateRangeHook'),
    dict(type='convnext_dense.ProgressHook'),
    dict(type='convnext_dense.SegmentationPictureHook', count=8),
    dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.001, update_buffers=True),
]
randomness = dict(seed=0)
