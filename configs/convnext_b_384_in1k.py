"""ConvNeXt-B at 384 x 384, fine-tuned from ImageNet-1k at 224 x 224: the authors' recipe."""

_base_ = [
    '_base_/models_convnext_finetune.py',
    '_base_/imagenet_384.py',
    '_base_/schedule_finetune_in1k.py',
    '_base_/default_runtime_classification.py',
]
model = dict(
    arch='base',
    drop_path_rate=0.8,
    init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_1k_224.pth'),
)
train_dataloader = dict(batch_size=32)
optim_wrapper = dict(paramwise_cfg=dict(decay_rate=0.7))
