"""ImageNet: files and folders, their labels, and the check of a copy.

Files: ``train/<wnid>/*.JPEG`` and ``val/<wnid>/*.JPEG``. The label of a class is the place of its
folder in sorted order, as torchvision's ImageFolder has it. ``val/*.JPEG`` without folders, as the
archive has them, can be read too if one of the files in :mod:`convnext_dense.data.imagenet_labels`
gives their labels.

Source: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015;
https://www.image-net.org.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from convnext_dense.data import checking
from convnext_dense.data.imagenet_labels import find_labels, read_class_names
from convnext_dense.data.sample_folder import read_counts, read_stamp
from convnext_dense.errors import DataError

SPLITS = ('train', 'val')
COUNTS = dict(train=1281167, val=50000)  # images in each split
NUM_CLASSES = 1000
NUM_SAMPLE_CLASSES = 10  # classes of the drawn sample
SUFFIXES = ('.jpeg', '.jpg', '.png')


class Split(NamedTuple):
    """The images of a split.

    Attributes:
        paths: of the images, relative to the root of the data set.
        labels: place in ``wnids`` of the class of each image.
        wnids: names of the classes (WordNet ids, the names of their folders), in order of labels.
    """

    paths: list[str]
    labels: list[int]
    wnids: list[str]


def _list_folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir())


def _list_images(folder: Path) -> list[str]:
    # Names only: asking the file system about each of a million files would take minutes.
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.name.lower().endswith(SUFFIXES))


def list_split(root: str | Path, split: str) -> Split:
    """List the images of a split with their labels.

    Classes are the folders of ``train``, or those of the split itself if there is no ``train``.

    Args:
        root: folder that holds the splits.
        split: name of the split's folder.

    Raises:
        DataError: no such folder, no image in it, a class of the split that ``train`` does not
            have, or images without folders whose labels are nowhere.
    """
    root = Path(root)
    folder = root / split
    if not folder.is_dir():
        raise DataError(f'{folder} does not exist: expected {split}/<wnid>/*.JPEG')
    train = root / 'train'
    train_wnids = _list_folders(train) if train.is_dir() else []
    split_wnids = _list_folders(folder)
    if not split_wnids:
        return _list_split_without_folders(root, split, train_wnids)

    wnids = train_wnids or split_wnids
    unknown = sorted(set(split_wnids) - set(wnids))
    if unknown:
        raise DataError(
            f'{folder} has classes that {train} does not have: {unknown[:3]}, ... '
            f'({len(unknown)}). Both must have the same folders'
        )
    label_of = {wnid: label for label, wnid in enumerate(wnids)}
    paths = []
    labels = []
    for wnid in split_wnids:
        for image in _list_images(folder / wnid):
            paths.append(f'{split}/{wnid}/{image}')
            labels.append(label_of[wnid])
    if not paths:
        raise DataError(f'{folder} holds no image: expected {split}/<wnid>/*.JPEG')
    return Split(paths, labels, wnids)


def _list_split_without_folders(root: Path, split: str, train_wnids: list[str]) -> Split:
    """List images that lie in the folder of the split itself; a file gives their labels."""
    folder = root / split
    images = _list_images(folder)
    if not images:
        raise DataError(f'{folder} holds neither folders of classes nor images')
    source, label_of = find_labels(root, split, train_wnids)
    missing = [image for image in images if Path(image).stem not in label_of]
    if missing:
        raise DataError(
            f'{source} names no class for {len(missing)} images of {folder}: {missing[:3]}, ...'
        )
    labels = [label_of[Path(image).stem] for image in images]
    num_classes = max(labels) + 1
    if train_wnids and num_classes > len(train_wnids):
        raise DataError(
            f'{source} has class {max(labels)}; {root / "train"} has {len(train_wnids)} folders'
        )
    wnids = train_wnids or [str(label) for label in range(num_classes)]
    return Split([f'{split}/{image}' for image in images], labels, wnids)


def get_class_names(root: str | Path, wnids: list[str]) -> list[str]:
    """English names of classes if a file beside the splits has them, otherwise the wnids."""
    names = read_class_names(Path(root))
    return [names.get(wnid, wnid) for wnid in wnids]


def find_root(path: str | Path) -> Path | None:
    """The folder at, above or up to three levels below ``path`` that holds train/ and val/."""

    def is_root(folder: Path) -> bool:
        return (folder / 'train').is_dir() and (folder / 'val').is_dir()

    return checking.find_nearby(Path(path), is_root, depth=3)


def _check_root(root: Path) -> list[str]:
    """Why ``root`` is not the folder that holds train/ and val/; empty if it is."""
    if (root / 'train').is_dir() and (root / 'val').is_dir():
        return []
    expected = f'{root}: expected a folder that holds train/ and val/'
    meant = find_root(root) if root.is_dir() else None
    if meant:
        return [f'{expected}; the right folder seems to be {meant}']
    return [f'{expected}; {checking.describe_content(root)}']


def _check_split(
    root: Path, split: str, count: int, num_classes: int, full: bool, num_checked: int
) -> list[str]:
    folder = root / split
    try:
        paths, labels, wnids = list_split(root, split)
    except DataError as error:
        return [str(error)]
    problems = []
    num_used = len(set(labels))
    # A sample may have fewer images than classes.
    if len(wnids) != num_classes or num_used != min(num_classes, count):
        problems.append(
            f'{folder}: expected {num_classes:,} classes; '
            f'got {num_used:,} with images of {len(wnids):,}'
        )
    if len(paths) != count:
        problems.append(f'{folder}: expected {count:,} images; got {len(paths):,}')
    for path in checking.choose_files(paths, full, num_checked):
        try:
            checking.read_image(root / path)
        except OSError as error:
            problems.append(str(error))
    return problems


def check(
    root: str | Path, full: bool = False, num_checked: int = checking.NUM_CHECKED
) -> list[str]:
    """List what is wrong with a copy of ImageNet-1k, one sentence each; empty if it is complete.

    Checks that ``root`` is the right folder, the classes and the number of images of both splits,
    and that some images of each split can be read. A drawn sample must have the counts that it was
    written with.

    Args:
        root: folder that holds train/ and val/.
        full: open every image.
        num_checked: number of images to open in each split otherwise.
    """
    root = Path(root)
    problems = _check_root(root)
    if problems:
        return problems
    num_classes = NUM_CLASSES if read_stamp(root) is None else NUM_SAMPLE_CLASSES
    counts = read_counts(root, COUNTS)
    for split in SPLITS:
        problems += _check_split(root, split, counts[split], num_classes, full, num_checked)
    return problems


def describe(root: Path, full: bool) -> list[str]:
    """What :func:`check` has found to be right in a copy without problems, one sentence each."""
    lines = []
    for split in SPLITS:
        paths, _, wnids = list_split(root, split)
        lines.append(f'{split}: {len(paths):,} images of {len(wnids):,} classes')
    extent = checking.describe_extent('image', full)
    lines.append(f'{extent} can be read')
    return lines
