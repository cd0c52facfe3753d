"""ConvNeXt-L on ImageNet-1k from scratch: the authors' recipe, T's with half the images per GPU."""

_base_ = 'convnext_t_in1k.py'
model = dict(arch='large', drop_path_rate=0.5)
train_dataloader = dict(batch_size=64)
optim_wrapper = dict(accumulative_counts=8)  # 8 GPUs x 64 images x 8 = 4096
auto_scale_lr = dict(base_batch_size=512)  # of all GPUs together, before accumulation
