"""Labels of ImageNet's validation images that lie in one folder, and English names of classes.

The label file is the first of these that is found in the root, in ``meta/``, ``val/``, the devkit's
``data/`` or up to three folders above the root:

=======================================  ==========================================================
``LOC_val_solution.csv`` (Kaggle)        lines ``ILSVRC2012_val_00000001,n01751748 111 108 ...``
``val.txt`` (Caffe's, mmpretrain's)      lines ``ILSVRC2012_val_00000001.JPEG 65``: labels in the
                                         order of the sorted wnids
``ILSVRC2012_validation_ground_truth``   lines ``490``: numbers of the devkit; needs, beside it,
``.txt`` (the devkit)                    the devkit's ``meta.mat`` or the later ``map_clsloc.txt``,
                                         lines ``n02119789 1 kit_fox``
=======================================  ==========================================================
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from convnext_dense.errors import DataError

CLASS_NAMES_FILE = 'LOC_synset_mapping.txt'  # Kaggle's: lines 'n01440764 tench, Tinca tinca'
_CLASS_ORDER_FILE = 'map_clsloc.txt'
_NUM_CLASSES = 1000
_FOLDERS = ('meta', 'val', 'data', 'ILSVRC2012_devkit_t12/data')


def _find_file(root: Path, name: str) -> Path | None:
    """The first file of this name in or near ``root``."""
    root = root.absolute()
    folders = [root, *(root / folder for folder in _FOLDERS), *root.parents[:3]]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    return None


def _read_words(path: Path) -> list[list[str]]:
    """The words of each line that is not empty, separated by blanks or commas."""
    lines = path.read_text().splitlines()
    return [line.replace(',', ' ').split() for line in lines if line.strip()]


def _label_by_wnid(wnids: list[str]) -> dict[str, int]:
    return {wnid: label for label, wnid in enumerate(wnids)}


def _read_kaggle(path: Path, wnids: list[str]) -> dict[str, int]:
    """Labels from lines 'stem,wnid and boxes'."""
    wnid_of = {words[0]: words[1] for words in _read_words(path) if words[0] != 'ImageId'}
    label_of = _label_by_wnid(wnids or sorted(set(wnid_of.values())))
    return {stem: label_of[wnid] for stem, wnid in wnid_of.items()}


def _read_caffe(path: Path, wnids: list[str]) -> dict[str, int]:
    """Labels from lines 'file name, label'."""
    return {Path(words[0]).stem: int(words[1]) for words in _read_words(path)}


def _read_devkit(path: Path, wnids: list[str]) -> dict[str, int]:
    """Labels from lines with the devkit's number of a class, in the order of the images."""
    wnid_of = _read_class_order(path)
    label_of = _label_by_wnid(wnids or sorted(wnid_of.values()))
    labels = {}
    for image, words in enumerate(_read_words(path), start=1):
        number = int(words[0])
        labels[f'ILSVRC2012_val_{image:08d}'] = label_of[wnid_of[number]]
    return labels


def _read_class_order(path: Path) -> dict[int, str]:
    """The wnid of each of the devkit's numbers, 1 to 1000, from the file beside ``path``."""
    order_path = _find_file(path.parent, _CLASS_ORDER_FILE)
    if order_path:
        return {int(words[1]): words[0] for words in _read_words(order_path)}
    meta_path = _find_file(path.parent, 'meta.mat')
    if meta_path:
        return _read_meta(meta_path)
    raise DataError(
        f'{path} numbers the classes as the devkit does: put its meta.mat or {_CLASS_ORDER_FILE} '
        'beside it, or use val.txt or LOC_val_solution.csv'
    )


def _read_meta(path: Path) -> dict[int, str]:
    from scipy.io import loadmat  # nothing else needs scipy, which is slow to import

    wnids = {}
    for synset in loadmat(path, squeeze_me=True)['synsets']:
        number = int(synset['ILSVRC2012_ID'])
        if number <= _NUM_CLASSES:  # higher numbers are groups of classes
            wnids[number] = str(synset['WNID'])
    return wnids


_READERS: dict[str, Callable[[Path, list[str]], dict[str, int]]] = {
    'LOC_val_solution.csv': _read_kaggle,
    'val.txt': _read_caffe,
    'ILSVRC2012_validation_ground_truth.txt': _read_devkit,
}


def find_labels(root: Path, split: str, wnids: list[str]) -> tuple[Path, dict[str, int]]:
    """Read the labels of images that do not lie in folders of classes.

    Args:
        root: folder that holds the splits.
        split: name of the split's folder, for the message of an error.
        wnids: names of the classes in order of their labels; empty if they are not known.

    Returns:
        The file that was read, and the label of each image by the stem of its file name.

    Raises:
        DataError: there is no such file, or it cannot be read as labels.
    """
    for name, read in _READERS.items():
        path = _find_file(root, name)
        if path is None:
            continue
        try:
            return path, read(path, wnids)
        except (IndexError, KeyError) as error:
            raise DataError(
                f'{path} cannot be read as labels ({error!r}): a line is incomplete, or it names '
                'a class that train/ does not have'
            ) from error
    raise DataError(
        f'{root / split} holds images without folders of classes, and none of '
        f'{", ".join(_READERS)} is there to give their labels. Put one into {root}, or sort the '
        f'images into {split}/<wnid>/'
    )


def read_class_names(root: Path) -> dict[str, str]:
    """English name of each wnid, the first if there are several; empty without Kaggle's file."""
    path = _find_file(root, CLASS_NAMES_FILE)
    if path is None:
        return {}
    names = {}
    for line in path.read_text().splitlines():
        wnid, _, synonyms = line.partition(' ')
        names[wnid] = synonyms.split(',')[0].strip()
    return names
