"""ConvNeXt-S on ImageNet-1k from scratch: the authors' recipe, T's with more drop path."""

_base_ = 'convnext_t_in1k.py'
model = dict(arch='small', drop_path_rate=0.4)
