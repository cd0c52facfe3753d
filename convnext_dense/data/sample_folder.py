"""Folders of drawn samples: written as a whole or not at all, and never over someone else's data.

A stamp file in each folder holds the parameters that it was written with.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from convnext_dense.errors import DataError

_STAMP = 'convnext_dense_sample.json'


def read_stamp(root: Path) -> dict | None:
    """The parameters of a folder that :func:`write_folder` wrote; None for any other folder."""
    try:
        content = json.loads((root / _STAMP).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    parameters = content.get('parameters')
    if not isinstance(parameters, dict):
        return None
    return parameters


def read_counts(root: Path, default: dict[str, int]) -> dict[str, int]:
    """Number of pictures in each split of a drawn sample; ``default`` if ``root`` is not one."""
    stamp = read_stamp(root)
    if stamp is None:
        return default
    return stamp.get('counts', default)


def _count_files(root: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(root))


def is_complete(root: Path, parameters: dict) -> bool:
    """Whether the folder was written with these parameters and no file has been lost since."""
    if read_stamp(root) != parameters:
        return False
    expected = json.loads((root / _STAMP).read_text()).get('files')
    return expected == _count_files(root) - 1  # the stamp itself is not counted


def write_folder(root: Path, parameters: dict, write: Callable[[Path], None]) -> bool:
    """Write a folder beside ``root`` and move it to ``root`` when it is complete.

    It is written again if the parameters or the number of files differ from those in its stamp.

    Args:
        root: the folder to make or to replace.
        parameters: values of JSON's types that determine what is written.
        write: fills the empty folder that it is given.

    Returns:
        Whether it was written; False if it was there already.

    Raises:
        DataError: ``root`` holds something without a stamp; it is left as it is.
    """
    root = root.resolve()
    if is_complete(root, parameters):
        return False
    _require_replaceable(root)
    fresh = root.with_name(f'.{root.name}.{os.getpid()}.new')
    old = root.with_name(f'.{root.name}.{os.getpid()}.old')
    try:
        fresh.mkdir(parents=True)
        write(fresh)
        stamp = dict(parameters=parameters, files=_count_files(fresh))
        (fresh / _STAMP).write_text(json.dumps(stamp))
        return _replace(root, fresh, old, parameters)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _require_replaceable(root: Path) -> None:
    """Raise DataError if ``root`` is anything but absent, empty, or a drawn sample."""
    if not root.exists() or read_stamp(root) is not None:
        return
    if root.is_dir() and not any(root.iterdir()):
        return
    raise DataError(
        f'{root} holds data that is not a drawn sample; it is left as it is. '
        'Choose another folder for the sample, or move that data away.'
    )


def _replace(root: Path, fresh: Path, old: Path, parameters: dict) -> bool:
    """Move ``fresh`` to ``root``; returns False if another process wrote the same meanwhile."""
    if is_complete(root, parameters):
        return False
    try:
        if root.exists():
            root.rename(old)
        fresh.rename(root)
    except OSError:
        # The other process may have moved its folder here between the two renames.
        if is_complete(root, parameters):
            return False
        if old.exists() and not root.exists():
            old.rename(root)
        raise
    return True
