"""ConvNeXt-T at 384 x 384 from ImageNet-22k: B's recipe, with a drop path that is our choice."""

_base_ = 'convnext_b_in22k_384_in1k.py'
model = dict(
    arch='tiny',
    drop_path_rate=0.1,
    init_cfg=dict(checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_22k_224.pth'),
)
