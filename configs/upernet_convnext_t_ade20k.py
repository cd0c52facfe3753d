"""UperNet with ConvNeXt-T on ADE20K at 512 x 512, in mixed precision: the authors' recipe."""

_base_ = [
    '_base_/models_upernet_convnext.py',
    '_base_/ade20k.py',
    '_base_/schedule_160k.py',
    '_base_/default_runtime.py',
]
crop_size = (512, 512)
model = dict(
    data_preprocessor=dict(size=crop_size),
    backbone=dict(
        arch='tiny',
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224.pth',
        ),
    ),
    decode_head=dict(in_channels=[96, 192, 384, 768], num_classes=150),
    auxiliary_head=dict(in_channels=384, num_classes=150),
    test_cfg=dict(mode='slide', crop_size=crop_size, stride=(341, 341)),
)
optim_wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
