"""36 epochs, AdamW: lr / 10 after 27 and after 33 epochs, a warm-up of 500 iterations.

lr(i, epoch) = lr * scale * (1e-3 + (1 - 1e-3) * min(i / 500, 1))
               * 0.1 ** ((epoch >= 27) + (epoch >= 33))
with epochs from 0 and the scale of the layer. ``end`` exceeds the length by 1 because mmengine
reaches the last value at ``end - 1``.
"""

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    constructor='convnext_dense.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=0.7, decay_type='layer_wise'),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=501),
    dict(type='MultiStepLR', by_epoch=True, milestones=[27, 33], gamma=0.1),
]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=36, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='convnext_dense.CheckpointHook',
        interval=1,
        save_best='coco/segm_mAP',
        max_keep_ckpts=2,
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
auto_scale_lr = dict(enable=False, base_batch_size=16)
