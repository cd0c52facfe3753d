"""The import hook that offers the stand-in under the name ``mmcv._ext``. Standard library only: no torch, no mmcv."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path

EXTENSION = 'mmcv._ext'


class StandInFinder:
    """Finds ``mmcv._ext`` in ``ext.py`` beside this file, and no other name.

    It answers ``importlib.util.find_spec('mmcv._ext')`` too, which is how mmcv and mmengine ask whether ops exist.
    """

    @classmethod
    def find_spec(cls, name: str, path=None, target=None) -> ModuleSpec | None:
        if name != EXTENSION:
            return None
        return spec_from_file_location(name, Path(__file__).with_name('ext.py'))


def install() -> None:
    """Make ``import mmcv._ext`` fall back to the stand-in; a second call changes nothing.

    The finder is the last of ``sys.meta_path``: a compiled mmcv is found first and wins, even one that is broken, so
    that its error is seen. Nothing is imported now, neither torch nor mmcv, and mmcv need not be installed.
    """
    if StandInFinder not in sys.meta_path:
        sys.meta_path.append(StandInFinder)
