"""ConvNeXt-B at 384 x 384, fine-tuned from ImageNet-22k: the authors' recipe."""

_base_ = [
    '_base_/models_convnext_finetune.py',
    '_base_/imagenet_384.py',
    '_base_/schedule_finetune_in1k.py',
    '_base_/default_runtime_classification.py',
]
model = dict(
    arch='base',
    drop_path_rate=0.2,
    init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_224.pth'),
)
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(accumulative_counts=4)  # 8 GPUs x 16 images x 4 = 512
auto_scale_lr = dict(base_batch_size=128)  # of all GPUs together, before accumulation
