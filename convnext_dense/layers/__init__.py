"""The network in plain torch: norms, block, network. Knows no mm* package."""

from convnext_dense.layers.block import ConvNeXtBlock
from convnext_dense.layers.network import ConvNeXt
from convnext_dense.layers.norm import GlobalResponseNorm, LayerNorm2d

__all__ = ['ConvNeXt', 'ConvNeXtBlock', 'GlobalResponseNorm', 'LayerNorm2d']
