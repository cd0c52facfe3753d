"""The layouts of ConvNeXt checkpoints: one literal table each, used to read and to write.

To add a layout, write a module with a table beside these, and name it in ``_MODULES`` and in the
list of ``cli/convert.py``. See ``timm.py`` for an example, ``layout.py`` for what the columns mean.
"""

from convnext_dense.checkpoints.layouts import facebook, mmpretrain, timm, torchvision, transformers
from convnext_dense.checkpoints.layouts.layout import Layout

_MODULES = (facebook, timm, torchvision, transformers, mmpretrain)

LAYOUTS: dict[str, Layout] = {
    layout.name: layout for module in _MODULES for layout in module.LAYOUTS
}


def get_layout(name: str) -> Layout:
    """Return the layout called ``name``; ValueError with the list of names if there is none."""
    if name not in LAYOUTS:
        raise ValueError(f'layout must be one of {", ".join(LAYOUTS)}; got {name!r}')
    return LAYOUTS[name]


__all__ = ['LAYOUTS', 'Layout', 'get_layout']
