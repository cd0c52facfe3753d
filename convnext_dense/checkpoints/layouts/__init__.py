"""The layouts of ConvNeXt checkpoints: one literal table each, used to read and to write."""

from convnext_dense.checkpoints.layouts import facebook, mmpretrain, timm, torchvision, transformers
from convnext_dense.checkpoints.layouts.layout import Layout, Row
from convnext_dense.checkpoints.layouts.shapes import Shape

LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for module in (facebook, timm, torchvision, transformers, mmpretrain)
    for layout in module.LAYOUTS
}

__all__ = ['LAYOUTS', 'Layout', 'Row', 'Shape']
