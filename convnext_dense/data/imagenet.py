"""ImageNet's folder layout: what is where, a writer of drawn pictures in it, a check of a download.

Layout: ``train/<wnid>/*.JPEG`` and ``val/<wnid>/*.JPEG``. Labels are the places of the folders' names in sorted order,
as torchvision's ImageFolder gives them. ``val/*.JPEG`` as the archive has it is read too, with one of the files in
:mod:`convnext_dense.data.imagenet_labels` beside it.

Source: Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015; https://www.image-net.org.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image

from convnext_dense.data.sample_folder import has_drawn, read_stamp, write_drawn
from convnext_dense.data.imagenet_labels import NAMES_FILE, find_labels, read_names
from convnext_dense.scenes.single_object import EXTENTS, draw_object

SPLITS = ('train', 'val')
COUNTS = dict(train=1281167, val=50000)
NUM_CLASSES = 1000
SUFFIXES = ('.jpeg', '.jpg', '.png')
SAMPLE_FOLDER = Path('imagenet')  # of the sample, inside its root: data/sample by default
SAMPLE_VERSION = (
    1  # raised whenever the pictures change, so that samples written before are written again
)
# Names of the sample's folders: like WordNet's ids, and none of them.
SAMPLE_WNIDS = {f'n9{i:07d}': kind for i, kind in enumerate(EXTENTS, 1)}


def _list_names(folder: str, want_folders: bool) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(
            entry.name
            for entry in entries
            if (entry.is_dir() if want_folders else entry.name.lower().endswith(SUFFIXES))
        )


def list_split(root: str | Path, split: str) -> tuple[list[str], list[int], list[str]]:
    """Images of a split: paths under ``root``, the label of each, and the class names (wnids) in order of the labels.

    Classes are the folders of ``train``; of the split itself when there is no ``train``.

    Raises:
        FileNotFoundError: no such folder, or no image in it.
        ValueError: a class of the split that ``train`` does not have, or flat images whose labels are nowhere.
    """
    root, folder = Path(root), Path(root, split)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} does not exist: expected ImageNet's layout, {split}/<wnid>/*.JPEG"
        )
    classes = _list_names(root / 'train', True) if (root / 'train').is_dir() else []
    own = _list_names(folder, True)
    if not own:
        return _list_flat(root, split, classes)
    classes = classes or own
    if unknown := sorted(set(own) - set(classes)):
        raise ValueError(
            f'{folder} has classes that {root / "train"} has not: {unknown[:3]}, ... ({len(unknown)}). '
            'Both must have the same folders'
        )
    images = {name: _list_names(folder / name, False) for name in own}
    paths = [f'{split}/{name}/{image}' for name in own for image in images[name]]
    if not paths:
        raise FileNotFoundError(f'{folder} holds no image: expected {split}/<wnid>/*.JPEG')
    label = {name: i for i, name in enumerate(classes)}
    return paths, [label[name] for name in own for _ in images[name]], classes


def _list_flat(
    root: Path, split: str, classes: list[str]
) -> tuple[list[str], list[int], list[str]]:
    images = _list_names(root / split, False)
    if not images:
        raise FileNotFoundError(f'{root / split} holds neither folders of classes nor images')
    source, given = find_labels(root, split, classes)
    if missing := [image for image in images if Path(image).stem not in given]:
        raise ValueError(
            f'{source} names no class for {len(missing)} images of {root / split}: {missing[:3]}, ...'
        )
    labels = [given[Path(image).stem] for image in images]
    if classes and max(labels) >= len(classes):
        raise ValueError(
            f'{source} has class {max(labels)}; {root / "train"} has {len(classes)} folders'
        )
    return (
        [f'{split}/{image}' for image in images],
        labels,
        classes or [str(i) for i in range(max(labels) + 1)],
    )


def class_names(root: str | Path, wnids: list[str]) -> list[str]:
    """What people call the classes, where a file beside the splits says so; otherwise the wnids themselves."""
    names = read_names(Path(root))
    return [names.get(wnid, wnid) for wnid in wnids]


def _write_split(root: Path, split: str, count: int, seed: int) -> None:
    for wnid in SAMPLE_WNIDS:
        (root / split / wnid).mkdir(parents=True)
    kinds, stream = list(SAMPLE_WNIDS.items()), 'training' if split == 'train' else 'validation'
    for number in range(count):
        (wnid, kind), index = kinds[number % len(kinds)], number // len(kinds)
        name = (
            f'{wnid}_{index + 1}.JPEG' if split == 'train' else f'drawn_val_{number + 1:08d}.JPEG'
        )
        Image.fromarray(draw_object(kind, seed, stream, index)).save(
            root / split / wnid / name, quality=92
        )
    (root / NAMES_FILE).write_text(
        ''.join(f'{wnid} {kind}\n' for wnid, kind in SAMPLE_WNIDS.items())
    )


def write_sample(
    root: str | Path, num_train: int = 1280, num_val: int = 320, seed: int = 0
) -> bool:
    """Write drawn pictures in ImageNet's layout under ``root``; True when written, False when they were there already.

    Ten classes take turns. The folder appears whole or not at all. A sample with other parameters, or of another
    version, is replaced.

    Raises:
        ValueError: a count below 1 or a negative seed.
        FileExistsError: ``root`` holds files that this function did not write; they are left as they are.
    """
    return write_drawn(root, dict(train=num_train, val=num_val), seed, SAMPLE_VERSION, _write_split)


def ensure_sample(root: str | Path) -> bool:
    """Write the default sample unless a complete one of this version, of whatever size and seed, is there already."""
    return not has_drawn(root, SAMPLE_VERSION) and write_sample(root)


def find_root(path: str | Path) -> Path | None:
    """The folder near ``path`` that holds ``train`` and ``val``: itself, above, or up to three below; or None."""
    path = Path(path).absolute()
    below = sorted(
        child for pattern in ('*', '*/*', '*/*/*') for child in path.glob(pattern) if child.is_dir()
    )
    for folder in (path, path.parent, *below):
        if all((folder / split).is_dir() for split in SPLITS):
            return folder
    return None


def _check_image(path: Path) -> list[str]:
    try:
        with Image.open(path) as file:
            np.asarray(file.convert('RGB'))
    except (OSError, SyntaxError, ValueError) as error:
        return [f'{path}: cannot be read ({error})']
    return []


def check(root: str | Path, full: bool = False, sample: int = 50) -> list[str]:
    """What is wrong with a copy of ImageNet-1k, one sentence each; empty when it is right.

    Looked at: the folder's level, 1,000 classes in both splits, 1,281,167 and 50,000 images, and that ``sample`` images
    of each split (``full``: all) can be read. A drawn sample is held to the counts it was written with.
    """
    root = Path(root)
    if not all((root / split).is_dir() for split in SPLITS):
        meant = find_root(root) if root.is_dir() else None
        return [
            f'{root}: expected a folder with train/ and val/ in it'
            + (f'; the one that was meant is {meant}' if meant else '')
        ]
    stamp, problems = read_stamp(root), []
    for split in SPLITS:
        try:
            paths, labels, classes = list_split(root, split)
        except (FileNotFoundError, ValueError) as error:
            problems.append(str(error))
            continue
        num_classes, count = (
            (len(SAMPLE_WNIDS), stamp['counts'][split]) if stamp else (NUM_CLASSES, COUNTS[split])
        )
        if len(classes) != num_classes or len(set(labels)) != min(num_classes, count):
            problems.append(
                f'{root / split}: expected {num_classes:,} classes; got {len(set(labels)):,} with images '
                f'of {len(classes):,}'
            )
        if len(paths) != count:
            problems.append(f'{root / split}: expected {count:,} images; got {len(paths):,}')
        for path in paths if full else paths[:: max(len(paths) // sample, 1)]:
            problems += _check_image(root / path)
    return problems
