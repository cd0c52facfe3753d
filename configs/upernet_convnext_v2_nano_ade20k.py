"""UperNet with ConvNeXt V2-nano on ADE20K: T's with a smaller backbone and a drop path of 0.2."""

_base_ = 'upernet_convnext_v2_t_ade20k.py'
model = dict(
    backbone=dict(
        arch='v2_nano',
        drop_path_rate=0.2,
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/im1k/convnextv2_nano_1k_224_ema.pt'
        ),
    ),
    decode_head=dict(in_channels=[80, 160, 320, 640]),
    auxiliary_head=dict(in_channels=320),
)
