"""A ConvNeXt classifier that starts from pretrained weights: no mixing of images, a small head."""

_base_ = ['models_convnext_classifier.py']
model = dict(
    head_init_scale=0.001,
    data_preprocessor=dict(mixup=None),
    init_cfg=dict(type='Pretrained'),
)
