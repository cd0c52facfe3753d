"""What is wrong with a copy of COCO 2017 on disk."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from convnext_dense.data.coco import CATEGORIES, COUNTS, SPLITS, annotation_path
from convnext_dense.data.sample_folder import read_stamp

_NAMES = {category['id']: category['name'] for category in CATEGORIES}


def find_root(path: str | Path) -> Path | None:
    """The folder near ``path`` that holds COCO's annotations and images: itself, above, or below; or None."""
    path = Path(path).absolute()
    above = (path.parent, path.parent.parent, path.parent.parent / path.name)
    below = sorted(
        child for pattern in ('*', '*/*') for child in path.glob(pattern) if child.is_dir()
    )
    for folder in (path, *above, *below):
        if any(
            annotation_path(folder, split).is_file() and (folder / f'{split}2017').is_dir()
            for split in SPLITS
        ):
            return folder
    return None


def _check_folder(root: Path) -> list[str]:
    """Why ``root`` is not the folder that holds COCO; empty when it is."""
    if any((root / name).is_dir() for name in ('annotations', 'train2017', 'val2017')):
        return []
    expected = f'{root}: expected a folder with annotations/, train2017/ and val2017/ in it'
    if meant := find_root(root):
        return [f'{expected}; the one that was meant is {meant}']
    if not root.is_dir():
        return [f'{expected}; there is no such folder']
    if (root / 'images' / 'train2017').is_dir():
        return [
            f'{expected}; train2017/ and val2017/ are in {root / "images"}: move them up, or link them'
        ]
    if archives := sorted(path.name for path in root.glob('*.zip')):
        return [f'{expected}; {", ".join(archives)} not unpacked: unzip in this folder']
    return [f'{expected}; got {sorted(child.name for child in root.iterdir())[:8]}']


def _why_no_images(folder: Path) -> str:
    """What is there instead of the images of ``folder``, and what to do."""
    if (folder / folder.name).is_dir():
        return f'they are one level too deep, in {folder / folder.name}: move that up'
    if (archive := folder.with_suffix('.zip')).is_file():
        return f'{archive.name} is not unpacked: unzip it in {folder.parent}'
    others = sorted(
        path.name for path in folder.parent.glob('*2017') if path.is_dir() and path != folder
    )
    there = f'got {", ".join(others)}; ' if others else ''
    return f'{there}get {folder.name}.zip from https://cocodataset.org/#download'


def _why_no_annotations(path: Path) -> str:
    """What is there instead of an annotation file, and what to do."""
    folder = path.parent
    if (folder / folder.name / path.name).is_file():
        return f'it is one level too deep, in {folder / folder.name}: move that up'
    if archives := sorted(folder.parent.glob('annotations_*2017.zip')):
        return f'{archives[0].name} is not unpacked: unzip it in {folder.parent}'
    others = sorted(child.name for child in folder.glob('*.json'))
    there = f'got {", ".join(others[:4])}; ' if others else ''
    return f'{there}get annotations_trainval2017.zip from https://cocodataset.org/#download'


_KEYS = dict(
    images={'id', 'file_name', 'width', 'height'},
    annotations={'id', 'image_id', 'category_id'},
    categories={'id', 'name'},
)


def _read(path: Path) -> dict[str, list[dict]]:
    """The images, annotations and categories of a file. Raises ValueError where it is no such file."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(
            f'{path}: cannot be read as JSON ({error}); it is damaged or was cut: get it again'
        ) from error
    for name, keys in _KEYS.items():
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(
            isinstance(e, dict) and keys <= e.keys() for e in entries
        ):
            raise ValueError(
                f'{path}: expected a list of {name}, each with {", ".join(sorted(keys))}'
            )
    return content


def _some(names: set) -> str:
    return f'{len(names):,} ({", ".join(map(str, sorted(names)[:3]))}{", ..." if len(names) > 3 else ""})'


def _check_image(path: Path, entry: dict) -> list[str]:
    """What is wrong with one image; empty when nothing is."""
    expected = (entry['width'], entry['height'])
    try:
        with Image.open(path) as file:
            file.load()
            got = file.size
    except (OSError, SyntaxError, ValueError) as error:
        return [f'{path}: cannot be read as an image ({error})']
    return (
        []
        if got == expected
        else [f'{path}: expected {expected[0]}x{expected[1]}; got {got[0]}x{got[1]}']
    )


def _check_annotations(path: Path, content: dict[str, list[dict]], images: set[str]) -> list[str]:
    """What is wrong with the content of an annotation file; ``images`` are the names of the files that are there."""
    problems, names = [], {category['id']: category['name'] for category in content['categories']}
    if names != _NAMES:
        problems.append(
            f"{path}: expected COCO's 80 categories with their ids; got {len(names)}: "
            f'{list(names.items())[:3]} ...'
        )
    known = {image['id'] for image in content['images']}
    strays = {
        a['id']
        for a in content['annotations']
        if a['image_id'] not in known or a['category_id'] not in names
    }
    if strays:
        problems.append(f'{path}: annotations of an unknown image or category: {_some(strays)}')
    written = {image['file_name'] for image in content['images']}
    if absent := written - images:
        problems.append(f'{path}: no file for {_some(absent)} of its images')
    if unknown := images - written:
        problems.append(f'{path}: does not name {_some(unknown)} of the files that are there')
    return problems


def _check_split(root: Path, split: str, count: int, full: bool, sample: int) -> list[str]:
    folder, path = root / f'{split}2017', annotation_path(root, split)
    images = {image.name for image in folder.glob('*.jpg')}
    if not images:
        return [f'{folder}: expected {count:,} images (*.jpg); {_why_no_images(folder)}']
    problems = (
        []
        if len(images) == count
        else [f'{folder}: expected {count:,} images (*.jpg); got {len(images):,}']
    )
    if not path.is_file():
        return [*problems, f'{path} is missing: {_why_no_annotations(path)}']
    try:
        content = _read(path)
    except ValueError as error:
        return [*problems, str(error)]
    problems += _check_annotations(path, content, images)
    entries = sorted(
        (e for e in content['images'] if e['file_name'] in images),
        key=lambda entry: entry['file_name'],
    )
    for entry in entries if full else entries[:: max(len(entries) // sample, 1)]:
        problems += _check_image(folder / entry['file_name'], entry)
    return problems


def check(root: str | Path, full: bool = False, sample: int = 50) -> list[str]:
    """What is wrong with a copy of COCO 2017, one sentence each; empty when it is right.

    Looked at: the folder's level, the number of images, that the annotations can be read, hold COCO's categories and
    name the images that are there, and of about ``sample`` images in each split (``full``: of all) that they can be
    read and have the size that is written. A drawn sample is held to the counts it was written with.
    """
    root = Path(root).absolute()
    if problems := _check_folder(root):
        return problems
    counts = (read_stamp(root) or {}).get('counts', COUNTS)
    return [
        problem
        for split in SPLITS
        for problem in _check_split(root, split, counts[split], full, sample)
    ]
