"""The check of a copy of COCO 2017: what is wrong with it, or what was found to be right."""

from __future__ import annotations

import json
from pathlib import Path

from convnext_dense.data import checking
from convnext_dense.data.coco import (
    CATEGORIES,
    COUNTS,
    SPLITS,
    get_annotation_path,
    get_image_folder,
)
from convnext_dense.data.sample_folder import read_counts
from convnext_dense.errors import DataError

_DOWNLOADS = 'https://cocodataset.org/#download'
_CATEGORY_NAMES = {category['id']: category['name'] for category in CATEGORIES}
# The lists of an annotation file, and the keys that we read of each entry.
_REQUIRED_KEYS = dict(
    images={'id', 'file_name', 'width', 'height'},
    annotations={'id', 'image_id', 'category_id'},
    categories={'id', 'name'},
)


def find_root(path: str | Path) -> Path | None:
    """The folder at, above or below ``path`` that holds annotations and images of a split."""

    def is_root(folder: Path) -> bool:
        for split in SPLITS:
            annotations = get_annotation_path(folder, split)
            if annotations.is_file() and get_image_folder(folder, split).is_dir():
                return True
        return False

    return checking.find_nearby(Path(path), is_root)


def _check_root(root: Path) -> list[str]:
    """Why ``root`` is not the folder that holds COCO; empty if it is."""
    for name in ('annotations', 'train2017', 'val2017'):
        if (root / name).is_dir():
            return []
    meant = find_root(root)
    archives = sorted(path.name for path in root.glob('*.zip'))
    if meant:
        found = f'the right folder seems to be {meant}'
    elif (root / 'images' / 'train2017').is_dir():
        images = root / 'images'
        found = f'train2017/ and val2017/ are in {images}: move them up, or link them'
    elif archives:
        found = f'{", ".join(archives)} not unpacked: unzip in this folder'
    else:
        found = checking.describe_content(root)
    return [f'{root}: expected a folder that holds annotations/, train2017/ and val2017/; {found}']


def _explain_no_images(folder: Path) -> str:
    """What is there instead of the images of ``folder``, and what to do."""
    nested = folder / folder.name
    if nested.is_dir():
        return f'they are one level too deep, in {nested}: move that up'
    archive = folder.with_suffix('.zip')
    if archive.is_file():
        return f'{archive.name} is not unpacked: unzip it in {folder.parent}'
    advice = f'get {folder.name}.zip from {_DOWNLOADS}'
    others = [path.name for path in folder.parent.glob('*2017') if path.is_dir()]
    if folder.name in others:
        others.remove(folder.name)
    if others:
        return f'got {", ".join(sorted(others))}; {advice}'
    return advice


def _explain_no_annotations(path: Path) -> str:
    """What is there instead of an annotation file, and what to do."""
    folder = path.parent
    nested = folder / folder.name
    if (nested / path.name).is_file():
        return f'it is one level too deep, in {nested}: move that up'
    archives = sorted(folder.parent.glob('annotations_*2017.zip'))
    if archives:
        return f'{archives[0].name} is not unpacked: unzip it in {folder.parent}'
    advice = f'get annotations_trainval2017.zip from {_DOWNLOADS}'
    others = sorted(child.name for child in folder.glob('*.json'))
    if others:
        return f'got {", ".join(others[:4])}; {advice}'
    return advice


def _has_keys(entries: object, keys: set[str]) -> bool:
    """Whether ``entries`` is a list of mappings that all have these keys."""
    if not isinstance(entries, list):
        return False
    return all(isinstance(entry, dict) and keys <= entry.keys() for entry in entries)


def _read_annotations(path: Path) -> dict[str, list[dict]]:
    """The images, annotations and categories of an annotation file.

    Raises:
        DataError: it is not a complete annotation file.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(
            f'{path}: cannot be read as JSON ({error}); it is damaged or incomplete: get it again'
        ) from error
    if not isinstance(content, dict):
        content = {}
    for name, keys in _REQUIRED_KEYS.items():
        if not _has_keys(content.get(name), keys):
            wanted = ', '.join(sorted(keys))
            raise DataError(f'{path}: expected a list of {name}, each with {wanted}')
    return content


def _check_annotations(path: Path, content: dict[str, list[dict]], files: set[str]) -> list[str]:
    """What is wrong with the content of an annotation file; ``files`` are the names of images."""
    problems = []
    names = {category['id']: category['name'] for category in content['categories']}
    if names != _CATEGORY_NAMES:
        first = list(names.items())[:3]
        problems.append(
            f"{path}: expected COCO's 80 categories with their ids; got {len(names)}: {first} ..."
        )

    # Annotations must belong to an image and a category of the same file.
    image_ids = {image['id'] for image in content['images']}
    strays = set()
    for annotation in content['annotations']:
        if annotation['image_id'] not in image_ids or annotation['category_id'] not in names:
            strays.add(annotation['id'])
    if strays:
        problems.append(
            f'{path}: annotations of an unknown image or category: {checking.list_some(strays)}'
        )

    # Images of the list and files of the folder must be the same.
    listed = {image['file_name'] for image in content['images']}
    if listed - files:
        names_of_absent = checking.list_some(listed - files)
        problems.append(f'{path}: no file for {names_of_absent} of its images')
    if files - listed:
        names_of_unknown = checking.list_some(files - listed)
        problems.append(f'{path}: does not name {names_of_unknown} of the files in the folder')
    return problems


def _check_image(path: Path, entry: dict) -> list[str]:
    """What is wrong with an image; empty if nothing is."""
    try:
        _, pixels = checking.read_image(path)
    except OSError as error:
        return [str(error)]
    height, width = pixels.shape[:2]
    if (width, height) == (entry['width'], entry['height']):
        return []
    return [f'{path}: expected {entry["width"]}x{entry["height"]}; got {width}x{height}']


def _check_split(root: Path, split: str, count: int, full: bool, num_checked: int) -> list[str]:
    folder = get_image_folder(root, split)
    files = {path.name for path in folder.glob('*.jpg')}
    if not files:
        return [f'{folder}: expected {count:,} images (*.jpg); {_explain_no_images(folder)}']
    problems = []
    if len(files) != count:
        problems.append(f'{folder}: expected {count:,} images (*.jpg); got {len(files):,}')

    path = get_annotation_path(root, split)
    if not path.is_file():
        problems.append(f'{path} is missing: {_explain_no_annotations(path)}')
        return problems
    try:
        content = _read_annotations(path)
    except DataError as error:
        problems.append(str(error))
        return problems
    problems += _check_annotations(path, content, files)

    entries = [entry for entry in content['images'] if entry['file_name'] in files]
    entries.sort(key=lambda entry: entry['file_name'])
    for entry in checking.choose_files(entries, full, num_checked):
        problems += _check_image(folder / entry['file_name'], entry)
    return problems


def check(
    root: str | Path, full: bool = False, num_checked: int = checking.NUM_CHECKED
) -> list[str]:
    """List what is wrong with a copy of COCO 2017, one sentence each; empty if it is complete.

    Checks that ``root`` is the right folder, the number of images, and that the annotations can be
    read, hold COCO's categories and name the images of the folder. Of each split it opens some
    images and checks that they have the annotated size. A drawn sample must have the counts that it
    was written with.

    Args:
        root: folder that holds annotations/, train2017/ and val2017/.
        full: open every image.
        num_checked: number of images to open in each split otherwise.
    """
    root = Path(root).absolute()
    problems = _check_root(root)
    if problems:
        return problems
    counts = read_counts(root, COUNTS)
    for split in SPLITS:
        problems += _check_split(root, split, counts[split], full, num_checked)
    return problems


def describe(root: Path, full: bool) -> list[str]:
    """What :func:`check` has found to be right in a copy without problems, one sentence each."""
    lines = []
    for split in SPLITS:
        count = len(list(get_image_folder(root, split).glob('*.jpg')))
        annotations = get_annotation_path(root, split).name
        lines.append(f'{split}2017: {count:,} images, each named in {annotations}')
    extent = checking.describe_extent('image', full)
    lines.append(f"{extent} can be read and has the annotated size; the categories are COCO's 80")
    return lines
