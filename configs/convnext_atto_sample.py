"""ConvNeXt-atto on drawn pictures of ten kinds of things, from random weights, on a CPU."""

_base_ = 'convnext_t_in1k.py'
data_root = 'data/sample/imagenet'
max_epochs = 25
warmup_epochs = 1
model = dict(
    arch='atto',
    num_classes=10,
    drop_path_rate=0.0,
    layer_scale_init_value=1.0,
    data_preprocessor=dict(mixup=None, random_erasing=None),
)
# Crops and flips only: the run is too short for the recipe's other augmentation.
train_dataloader = dict(
    batch_size=16,
    num_workers=1,
    pin_memory=False,
    dataset=dict(
        data_root=data_root,
        transform=dict(input_size=64, auto_augment=None, color_jitter=None, scale=(0.5, 1.0)),
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    pin_memory=False,
    dataset=dict(
        data_root=data_root, transform=dict(input_size=64, crop_pct=1.0, crop_mode='squash')
    ),
)
test_dataloader = val_dataloader
optim_wrapper = dict(accumulative_counts=1, optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(_base_.param_scheduler[0], end=warmup_epochs),
    dict(_base_.param_scheduler[1], begin=warmup_epochs, end=max_epochs),
]
custom_hooks = [*_base_.custom_hooks[:-1], dict(type='convnext_dense.EMAHook', decay=0.99)]
train_cfg = dict(max_epochs=max_epochs, val_interval=5)
default_hooks = dict(logger=dict(interval=20), checkpoint=dict(interval=5))
env_cfg = dict(cudnn_benchmark=False)
auto_scale_lr = dict(base_batch_size=16)
