"""UperNet with ConvNeXt-L on ADE20K at 640 x 640, in single precision: the authors' recipe.

The backbone starts from ImageNet-22k weights.
"""

_base_ = [
    '_base_/models_upernet_convnext.py',
    '_base_/ade20k_640.py',
    '_base_/schedule_160k.py',
    '_base_/default_runtime.py',
]
crop_size = (640, 640)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        arch='large',
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth',
        ),
    ),
    decode_head=dict(in_channels=[192, 384, 768, 1536], num_classes=150),
    auxiliary_head=dict(in_channels=768, num_classes=150),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(426, 426)),
)
