"""Checks of downloaded data sets by name, and what is said of a copy that is right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from convnext_dense.data import ade20k, coco, coco_check, imagenet


@dataclass(frozen=True)
class Check:
    """How a data set is looked at.

    Attributes:
        name: as its authors call it.
        folders: what its folder holds.
        check: (root, whether every file is read) -> what is wrong, one sentence each.
        describe: the same arguments -> what is right, where nothing is wrong.
    """

    name: str
    folders: str
    check: Callable[[Path, bool], list[str]]
    describe: Callable[[Path, bool], Iterator[str]]


def _what(files: str, full: bool) -> str:
    return f'every {files}' if full else f'each {files} of a sample (--full reads all)'


def _describe_ade20k(root: Path, full: bool) -> Iterator[str]:
    for split in ade20k.SPLITS:
        yield f'{split}: {len(list((root / "images" / split).glob("*.jpg"))):,} images, each with its annotation'
    yield f'{_what("image and label", full)} can be read, labels are 0..150 and of the size of their image'


def _describe_coco(root: Path, full: bool) -> Iterator[str]:
    for split in coco.SPLITS:
        count = len(list((root / f'{split}2017').glob('*.jpg')))
        yield f'{split}2017: {count:,} images, each named in {coco.annotation_path(root, split).name}'
    yield f"{_what('image', full)} can be read and has the size that is written; the categories are COCO's 80"


def _describe_imagenet(root: Path, full: bool) -> Iterator[str]:
    for split in imagenet.SPLITS:
        paths, _, classes = imagenet.list_split(root, split)
        yield f'{split}: {len(paths):,} images of {len(classes):,} classes'
    yield f'{_what("image", full)} can be read'


CHECKS = {
    'ade20k': Check(
        'ADE20K (ADEChallengeData2016)', 'images/ and annotations/', ade20k.check, _describe_ade20k
    ),
    'coco': Check(
        'COCO 2017', 'annotations/, train2017/ and val2017/', coco_check.check, _describe_coco
    ),
    'imagenet': Check(
        'ImageNet-1k (ILSVRC2012)', 'train/ and val/', imagenet.check, _describe_imagenet
    ),
}
