"""ImageNet from scratch: 300 epochs, batches of 4096, 20 epochs of warm-up, then a cosine.

The learning rate changes each iteration: from 0 to 4e-3, then down to 1e-6. It starts at 4e-9
rather than at 0, because mmengine multiplies the last value, and 0 would stay 0.
"""

max_epochs = 300
warmup_epochs = 20
# No layer decay. Biases, norms and layer scale have no weight decay.
optim_wrapper = dict(
    type='OptimWrapper',
    accumulative_counts=4,  # 8 GPUs x 128 images x 4 = 4096
    optimizer=dict(type='AdamW', lr=4e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.05),
    constructor='convnext_dense.LayerDecayOptimWrapperConstructor',
    paramwise_cfg=dict(decay_rate=1.0),
)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-6, begin=0, end=warmup_epochs, convert_to_iter_based=True
    ),
    dict(
        type='CosineAnnealingLR',
        eta_min_ratio=1e-6 / 4e-3,
        begin=warmup_epochs,
        end=max_epochs,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(type='convnext_dense.WholeStepsTrainLoop', max_epochs=max_epochs, val_interval=1)
val_cfg = dict(type='convnext_dense.PlainAndEMAValLoop')
test_cfg = dict(type='TestLoop')
log_processor = dict(by_epoch=True)
default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='convnext_dense.CheckpointHook', interval=1, save_best='top1', max_keep_ckpts=3
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
# The batch of all GPUs together, before accumulation.
auto_scale_lr = dict(enable=False, base_batch_size=1024)
