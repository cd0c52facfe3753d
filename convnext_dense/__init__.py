"""ConvNeXt V1 and V2 backbones for detection and segmentation with OpenMMLab.

Importing this package is light: it imports no torch and no mm* package. It makes a stand-in for
mmcv's compiled ops available (``convnext_dense.mmcv_ops``), so import it before mmcv. The public
names below are imported when they are first used.
"""

from importlib import import_module
from typing import Any

from convnext_dense.mmcv_ops import install as _install_mmcv_ops

__version__ = '0.1.0'

_PUBLIC = {
    'ConvNeXt': 'convnext_dense.models',
    'ConvNeXtClassifier': 'convnext_dense.models',
    'LayerDecayOptimWrapperConstructor': 'convnext_dense.engine',
    'VARIANTS': 'convnext_dense.variants',
    'Variant': 'convnext_dense.variants',
    'convert_state_dict': 'convnext_dense.checkpoints',
    'get_variant': 'convnext_dense.variants',
}
__all__ = ['__version__', *_PUBLIC]

_install_mmcv_ops()


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(
            f'module {__name__!r} has no attribute {name!r}; public names are {sorted(__all__)}'
        )
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
