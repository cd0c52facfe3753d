"""ConvNeXt-XL at 224 x 224 from ImageNet-22k: the authors' recipe, B's with averaged weights."""

_base_ = 'convnext_b_in22k_in1k.py'
model = dict(
    arch='xlarge',
    drop_path_rate=0.4,
    init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_xlarge_22k_224.pth'),
)
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(accumulative_counts=4)  # 8 GPUs x 16 images x 4 = 512
auto_scale_lr = dict(base_batch_size=128)  # of all GPUs together, before accumulation
custom_hooks = [*_base_.custom_hooks, dict(type='convnext_dense.EMAHook', decay=0.9999)]
