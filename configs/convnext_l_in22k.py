"""ConvNeXt-L on ImageNet-22k from scratch: the authors' recipe, B's with a larger network."""

_base_ = 'convnext_b_in22k.py'
model = dict(arch='large')
