"""UperNet with ConvNeXt-B on ADE20K: the authors' recipe, T's with a larger backbone."""

_base_ = 'upernet_convnext_t_ade20k.py'
model = dict(
    backbone=dict(
        arch='base',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_1k_224.pth'
        ),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
