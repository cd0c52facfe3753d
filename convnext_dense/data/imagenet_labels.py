"""Labels of ImageNet's validation images where these lie in one folder, and the names of classes.

Read, the first that is found in the root, ``meta/``, ``val/``, the devkit's ``data/`` or up to three folders above
the root:

=======================================  ==================================================================
``LOC_val_solution.csv`` (Kaggle)        lines ``ILSVRC2012_val_00000001,n01751748 111 108 ...``
``val.txt`` (Caffe's, mmpretrain's)      lines ``ILSVRC2012_val_00000001.JPEG 65``, places in sorted order
``ILSVRC2012_validation_ground_truth``   lines ``490``, numbers of the devkit; needs its ``meta.mat``, or its later
``.txt`` (the devkit)                    ``map_clsloc.txt``, lines ``n02119789 1 kit_fox``, beside it
=======================================  ==================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

NAMES_FILE = 'LOC_synset_mapping.txt'  # Kaggle's: lines 'n01440764 tench, Tinca tinca'
_ORDER_FILE = 'map_clsloc.txt'
_FOLDERS = ('meta', 'val', 'data', 'ILSVRC2012_devkit_t12/data')


def _find(root: Path, name: str) -> Path | None:
    root = root.absolute()
    for folder in (root, *(root / name for name in _FOLDERS), *root.parents[:3]):
        if (folder / name).is_file():
            return folder / name
    return None


def _lines(path: Path) -> Iterator[list[str]]:
    return (
        line.replace(',', ' ').split() for line in path.read_text().splitlines() if line.strip()
    )


def _read_csv(path: Path, classes: list[str]) -> dict[str, int]:
    wnids = {words[0]: words[1] for words in _lines(path) if words[0] != 'ImageId'}
    place = {wnid: i for i, wnid in enumerate(classes or sorted(set(wnids.values())))}
    return {stem: place[wnid] for stem, wnid in wnids.items()}


def _read_places(path: Path, classes: list[str]) -> dict[str, int]:
    return {Path(words[0]).stem: int(words[1]) for words in _lines(path)}


def _read_order(path: Path) -> dict[int, str]:
    """The devkit's number of each of the 1,000 classes -> wnid, from the file beside ``path``."""
    if order := _find(path.parent, _ORDER_FILE):
        return {int(words[1]): words[0] for words in _lines(order)}
    if meta := _find(path.parent, 'meta.mat'):
        from scipy.io import loadmat  # with any mm* stack; nothing else here needs it

        pairs = (
            (int(s['ILSVRC2012_ID']), str(s['WNID']))
            for s in loadmat(meta, squeeze_me=True)['synsets']
        )
        return {
            number: wnid for number, wnid in pairs if number <= 1000
        }  # those above are groups of classes
    raise ValueError(
        f'{path} numbers the classes as the devkit does: put its meta.mat or {_ORDER_FILE} beside it, or '
        'use val.txt or LOC_val_solution.csv'
    )


def _read_devkit(path: Path, classes: list[str]) -> dict[str, int]:
    wnid_of = _read_order(path)
    place = {wnid: i for i, wnid in enumerate(classes or sorted(wnid_of.values()))}
    return {
        f'ILSVRC2012_val_{i:08d}': place[wnid_of[int(words[0])]]
        for i, words in enumerate(_lines(path), 1)
    }


_READERS: dict[str, Callable[[Path, list[str]], dict[str, int]]] = {
    'LOC_val_solution.csv': _read_csv,
    'val.txt': _read_places,
    'ILSVRC2012_validation_ground_truth.txt': _read_devkit,
}


def find_labels(root: Path, split: str, classes: list[str]) -> tuple[Path, dict[str, int]]:
    """The file used, and the label of each image by its stem; ``classes`` are the wnids in order, [] if not known.

    Raises:
        ValueError: no such file, or one that cannot be understood.
    """
    for name, read in _READERS.items():
        path = _find(root, name)
        if path is None:
            continue
        try:
            return path, read(path, classes)
        except (IndexError, KeyError) as error:
            raise ValueError(
                f'{path} cannot be read as labels ({error!r}): a line is not as expected, or names a '
                'class that train/ has not'
            ) from error
    raise ValueError(
        f'{root / split} holds images without folders of classes, and there is none of '
        f'{", ".join(_READERS)} to tell their classes. Put one into {root}, or sort the images into '
        f'{split}/<wnid>/'
    )


def read_names(root: Path) -> dict[str, str]:
    """wnid -> name, the first where there are several; empty without Kaggle's file of names."""
    path = _find(root, NAMES_FILE)
    if path is None:
        return {}
    pairs = (line.partition(' ') for line in path.read_text().splitlines())
    return {wnid: names.split(',')[0].strip() for wnid, _, names in pairs}
