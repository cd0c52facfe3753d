"""ImageNet-22k from scratch: ``schedule_in1k.py`` for 90 epochs with 5 of warm-up."""

_base_ = ['schedule_in1k.py']
max_epochs = 90
warmup_epochs = 5
optim_wrapper = dict(accumulative_counts=16)  # 8 GPUs x 32 images x 16 = 4096
param_scheduler = [
    dict(_base_.param_scheduler[0], end=warmup_epochs),
    dict(_base_.param_scheduler[1], begin=warmup_epochs, end=max_epochs),
]
train_cfg = dict(max_epochs=max_epochs)
val_cfg = test_cfg = None
default_hooks = dict(checkpoint=dict(save_best=None))
auto_scale_lr = dict(base_batch_size=256)  # of all GPUs together, before accumulation
