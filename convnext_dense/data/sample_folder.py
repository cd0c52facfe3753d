"""Folders of data that we write: they appear whole or not at all, once, and never over data that is not ours."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

_STAMP = 'convnext_dense_sample.json'


def read_stamp(root: Path) -> dict | None:
    """The parameters with which we wrote this folder; None when we did not."""
    try:
        stamp = json.loads((root / _STAMP).read_text())
    except (OSError, ValueError):
        return None
    return (
        stamp['parameters']
        if isinstance(stamp, dict) and isinstance(stamp.get('parameters'), dict)
        else None
    )


def _count_files(root: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(root))


def is_complete(root: Path, parameters: dict) -> bool:
    """Whether we wrote this folder with these parameters and every file is still there."""
    if read_stamp(root) != parameters:
        return False
    return json.loads((root / _STAMP).read_text()).get('files') == _count_files(root) - 1


def write_folder(root: Path, parameters: dict, write: Callable[[Path], None]) -> bool:
    """Have ``write(folder)`` fill a new folder that then takes the place of ``root``; False when it was there already.

    A stamp in the folder holds ``parameters`` (of JSON's types) and the number of files: the folder is written again
    when either differs.

    Raises:
        FileExistsError: ``root`` holds something that has no stamp of ours; it is left as it is.
    """
    root = root.resolve()
    if is_complete(root, parameters):
        return False
    if root.exists() and read_stamp(root) is None and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(
            f'{root} holds data that is not a drawn sample, and is left as it is; '
            'choose another folder for the sample, or move what is there'
        )
    fresh, old = (root.with_name(f'.{root.name}.{os.getpid()}.{kind}') for kind in ('new', 'old'))
    try:
        fresh.mkdir(parents=True)
        write(fresh)
        (fresh / _STAMP).write_text(
            json.dumps(dict(parameters=parameters, files=_count_files(fresh)))
        )
        return _replace(root, fresh, old, parameters)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_drawn(
    root: str | Path,
    counts: dict[str, int],
    seed: int,
    version: int,
    write_split: Callable[[Path, str, int, int], None],
) -> bool:
    """:func:`write_folder` of a drawn sample: ``write_split(folder, split, count, seed)`` for training and validation.

    Raises:
        ValueError: a count below 1 or a negative seed.
        FileExistsError: see :func:`write_folder`.
    """
    num_train, num_val = counts.values()
    if min(num_train, num_val) < 1 or seed < 0:
        raise ValueError(
            'num_train and num_val must be at least 1 and seed at least 0; '
            f'got num_train={num_train}, num_val={num_val}, seed={seed}'
        )

    def write(folder: Path) -> None:
        for split, count in counts.items():
            write_split(folder, split, count, seed)

    return write_folder(Path(root), dict(counts=counts, seed=seed, version=version), write)


def has_drawn(root: str | Path, version: int) -> bool:
    """Whether a complete drawn sample of this version, of whatever size and seed, is in ``root``."""
    stamp = read_stamp(Path(root))
    return stamp is not None and stamp.get('version') == version and is_complete(Path(root), stamp)


def _replace(root: Path, fresh: Path, old: Path, parameters: dict) -> bool:
    """Move ``fresh`` to ``root``; False when another process has just put the same there."""
    if is_complete(root, parameters):
        return False
    try:
        if root.exists():
            root.rename(old)
        fresh.rename(root)
    except OSError:
        if is_complete(root, parameters):
            return False
        if old.exists() and not root.exists():
            old.rename(root)
        raise
    return True
