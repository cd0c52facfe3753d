"""UperNet with ConvNeXt V2-femto on ADE20K: T's with a smaller backbone and a drop path of 0.1."""

_base_ = 'upernet_convnext_v2_t_ade20k.py'
model = dict(
    backbone=dict(
        arch='v2_femto',
        drop_path_rate=0.1,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/im1k/convnextv2_femto_1k_224_ema.pt'
        ),
    ),
    decode_head=dict(in_channels=[48, 96, 192, 384]),
    auxiliary_head=dict(in_channels=192),
)
