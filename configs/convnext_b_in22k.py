"""ConvNeXt-B on ImageNet-22k from scratch, 90 epochs at 224 x 224: the authors' recipe."""

_base_ = [
    '_base_/models_convnext_classifier.py',
    '_base_/imagenet22k.py',
    '_base_/schedule_in22k.py',
    '_base_/default_runtime_classification.py',
]
model = dict(arch='base', num_classes=21841, drop_path_rate=0.1)
