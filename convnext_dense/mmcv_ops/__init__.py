"""Stand-in for mmcv's compiled ops (``mmcv._ext``), used only where mmcv was installed without."""

from .finder import install

__all__ = ['install']
