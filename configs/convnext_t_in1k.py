"""ConvNeXt-T on ImageNet-1k from scratch, 300 epochs at 224 x 224: the authors' recipe."""

_base_ = [
    '_base_/models_convnext_classifier.py',
    '_base_/imagenet.py',
    '_base_/schedule_in1k.py',
    '_base_/default_runtime_classification.py',
]
model = dict(arch='tiny', drop_path_rate=0.1)
custom_hooks = [*_base_.custom_hooks, dict(type='convnext_dense.EMAHook', decay=0.9999)]
