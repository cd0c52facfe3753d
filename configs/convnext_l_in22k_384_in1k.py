"""ConvNeXt-L at 384 x 384 from ImageNet-22k: the authors' recipe, B's with more drop path."""

_base_ = 'convnext_b_in22k_384_in1k.py'
model = dict(
    arch='large',
    drop_path_rate=0.3,
    init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_large_22k_224.pth'),
)
