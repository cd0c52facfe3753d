"""UperNet with ConvNeXt V2-B on ADE20K: T's with a larger backbone."""

_base_ = 'upernet_convnext_v2_t_ade20k.py'
model = dict(
    backbone=dict(
        arch='v2_base',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/im1k/convnextv2_base_1k_224_ema.pt'
        ),
    ),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
