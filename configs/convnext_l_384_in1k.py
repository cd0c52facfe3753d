"""ConvNeXt-L at 384 x 384: the authors' recipe, B's with more drop path, from averaged weights."""

_base_ = 'convnext_b_384_in1k.py'
model = dict(
    arch='large',
    drop_path_rate=0.95,
    init_cfg=dict(
        checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_1k_224_ema.pth'
    ),
)
