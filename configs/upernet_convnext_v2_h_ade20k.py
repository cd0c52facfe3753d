"""UperNet with ConvNeXt V2-H on ADE20K: T's with a larger backbone."""

_base_ = 'upernet_convnext_v2_t_ade20k.py'
model = dict(
    backbone=dict(
        arch='v2_huge',
        init_cfg=dict(
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnextv2/im1k/convnextv2_huge_1k_224_ema.pt'
        ),
    ),
    decode_head=dict(in_channels=[352, 704, 1408, 2816]),
    auxiliary_head=dict(in_channels=1408),
)
