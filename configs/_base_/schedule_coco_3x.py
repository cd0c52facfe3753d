"""36 epochs, the '3x' schedule: lr / 10 after 27 and after 33; linear warm-up over 500 iterations from lr / 1000.

lr(i, epoch) = lr * (1e-3 + (1 - 1e-3) * min(i / 500, 1)) * 0.1 ** ((epoch >= 27) + (epoch >= 33)), epochs from 0, for
each group times its layer's scale. ``end`` is one more than the warm-up's length because mmengine's schedulers reach
their last value at ``end - 1``.
"""

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
