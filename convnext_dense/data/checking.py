"""What the checks of all data sets share: finding the right folder, reading an image, wording."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

NUM_CHECKED = 50  # files of each split that a check opens unless it is asked for a full check

T = TypeVar('T')


def _iter_nearby_folders(path: Path, depth: int) -> Iterator[Path]:
    """``path``, then the folders above it, then those up to ``depth`` levels below it."""
    path = path.absolute()
    yield path
    yield path.parent
    yield path.parent.parent
    yield path.parent.parent / path.name
    below: list[Path] = []
    for level in range(1, depth + 1):
        below += path.glob('/'.join('*' * level))
    for child in sorted(below):
        if child.is_dir():
            yield child


def find_nearby(path: Path, is_root: Callable[[Path], bool], depth: int = 2) -> Path | None:
    """The first folder at, above or below ``path`` for which ``is_root`` holds, or None."""
    for folder in _iter_nearby_folders(path, depth):
        if is_root(folder):
            return folder
    return None


def describe_content(folder: Path) -> str:
    """What a wrong folder holds, for an error message: 'got [...]', the first eight names."""
    if not folder.is_dir():
        return 'there is no such folder'
    names = sorted(child.name for child in folder.iterdir())
    return f'got {names[:8]}'


def list_some(names: Collection[int] | Collection[str]) -> str:
    """The number of names and the first three: '5 (a, b, c, ...)'."""
    first = [str(name) for name in sorted(names)[:3]]
    if len(names) > len(first):
        first.append('...')
    return f'{len(names):,} ({", ".join(first)})'


def choose_files(files: Sequence[T], full: bool, count: int = NUM_CHECKED) -> Sequence[T]:
    """All files for a full check, otherwise about ``count`` that are spread evenly over them."""
    if full:
        return files
    step = max(len(files) // count, 1)
    return files[::step]


def describe_extent(files: str, full: bool) -> str:
    """Which of the files a check has opened; ``files`` names them: 'image and label'."""
    if full:
        return f'every {files}'
    return f'each {files} of a sample (--full reads all)'


def read_image(path: Path) -> tuple[str, np.ndarray]:
    """Mode and pixels, (H, W) or (H, W, channels), of an image file.

    Raises:
        OSError: whatever is wrong with the file.
    """
    try:
        with Image.open(path) as file:
            return file.mode, np.asarray(file)
    except (OSError, SyntaxError, ValueError) as error:  # SyntaxError: a broken PNG
        raise OSError(f'{path}: cannot be read as an image ({error})') from error
