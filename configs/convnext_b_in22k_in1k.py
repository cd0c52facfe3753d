"""ConvNeXt-B at 224 x 224, fine-tuned from ImageNet-22k: the authors' recipe."""

_base_ = [
    '_base_/models_convnext_finetune.py',
    '_base_/imagenet.py',
    '_base_/schedule_finetune_in1k.py',
    '_base_/default_runtime_classification.py',
]
model = dict(
    arch='base',
    drop_path_rate=0.2,
    init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_224.pth'),
)
train_dataloader = dict(batch_size=32)
