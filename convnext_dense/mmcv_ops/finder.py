"""The import hook that offers the stand-in under the name ``mmcv._ext``.

It uses only the standard library, neither torch nor mmcv, so that importing the package is light.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

EXTENSION = 'mmcv._ext'


class StandInFinder:
    """Finds ``mmcv._ext`` in ``ext.py`` beside this file, and no other module.

    It also answers ``importlib.util.find_spec('mmcv._ext')``, with which mmcv and mmengine check
    whether the ops exist.
    """

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != EXTENSION:
            return None
        return spec_from_file_location(name, Path(__file__).with_name('ext.py'))


def install() -> None:
    """Make ``import mmcv._ext`` fall back to the stand-in; a second call changes nothing.

    The finder comes last in ``sys.meta_path``, so a compiled mmcv is found first and is used, even
    a broken one, whose error is then seen. Nothing is imported now, and mmcv need not be installed.
    """
    if StandInFinder not in sys.meta_path:
        sys.meta_path.append(StandInFinder)
