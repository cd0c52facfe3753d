"""ConvNeXt-XL on ImageNet-22k from scratch: the authors' recipe, B's with more drop path."""

_base_ = 'convnext_b_in22k.py'
model = dict(arch='xlarge', drop_path_rate=0.2)
