"""What the project knows about each data set: files, source, check, and the drawn sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from convnext_dense.data import (
    ade20k,
    ade20k_sample,
    coco_check,
    coco_sample,
    imagenet,
    imagenet_sample,
)
from convnext_dense.data.sample import Sample


@dataclass(frozen=True)
class DatasetRecord:
    """A data set that configs read.

    Attributes:
        title: the name that its authors gave it.
        config_type: type of the data set in a config, without its scope.
        parts: what must be under the root: files, and folders with at least one file.
        download: the files to get and the page that offers them.
        check_command: the command that checks a download; ``{root}`` stands for its folder.
        find_root: finds the right folder at, above or below a wrong one.
        sample: drawn pictures that stand in for it.
    """

    title: str
    config_type: str
    parts: tuple[str, ...]
    download: str
    check_command: str
    find_root: Callable[[str | Path], Path | None]
    sample: Sample


@dataclass(frozen=True)
class CheckedRecord(DatasetRecord):
    """A data set whose copies can be checked.

    Attributes:
        check: ``check(root, full)`` returns what is wrong with a copy, one sentence each; with
            ``full`` it reads every file.
        describe: ``describe(root, full)`` returns what is right with a copy without problems.
    """

    check: Callable[[Path, bool], list[str]]
    describe: Callable[[Path, bool], list[str]]


ADE20K = CheckedRecord(
    title='ADE20K (SceneParse150)',
    config_type='ADE20KDataset',
    parts=(
        'images/training',
        'images/validation',
        'annotations/training',
        'annotations/validation',
    ),
    download='ADEChallengeData2016.zip from the MIT Scene Parsing Benchmark, '
    'https://sceneparsing.csail.mit.edu',
    check_command='convnext-dense data ade20k --root {root}',
    find_root=ade20k.find_root,
    sample=ade20k_sample.SAMPLE,
    check=ade20k.check,
    describe=ade20k.describe,
)
COCO = CheckedRecord(
    title='COCO 2017',
    config_type='CocoDataset',
    parts=(
        'annotations/instances_train2017.json',
        'train2017',
        'annotations/instances_val2017.json',
        'val2017',
    ),
    download='train2017.zip, val2017.zip and annotations_trainval2017.zip '
    'from https://cocodataset.org/#download',
    check_command='convnext-dense data coco --root {root}',
    find_root=coco_check.find_root,
    sample=coco_sample.SAMPLE,
    check=coco_check.check,
    describe=coco_check.describe,
)
IMAGENET = CheckedRecord(
    title='ImageNet-1k (ILSVRC2012)',
    config_type='ImageNet',
    parts=('train', 'val'),
    download='ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar '
    'from https://www.image-net.org/download.php',
    check_command='convnext-dense data imagenet --root {root}',
    find_root=imagenet.find_root,
    sample=imagenet_sample.SAMPLE,
    check=imagenet.check,
    describe=imagenet.describe,
)
IMAGENET22K = DatasetRecord(
    title='ImageNet-22k (fall 2011)',
    config_type='ImageNet22k',
    parts=('train',),
    download='fall11_whole.tar from https://www.image-net.org/download.php, '
    'each class unpacked to a folder in train',
    check_command='ls {root}/train | wc -l  (21841)',
    find_root=imagenet.find_root,
    sample=imagenet_sample.SAMPLE,
)
# By the names that the command line uses.
CHECKED_RECORDS: dict[str, CheckedRecord] = dict(ade20k=ADE20K, coco=COCO, imagenet=IMAGENET)
RECORDS: dict[str, DatasetRecord] = dict(CHECKED_RECORDS, imagenet22k=IMAGENET22K)


def find_record(config_type: str) -> DatasetRecord | None:
    """The record of a data set by its type in a config, with or without scope; None if unknown."""
    name = config_type.rpartition('.')[2]  # 'mmseg.ADE20KDataset' -> 'ADE20KDataset'
    for record in RECORDS.values():
        if record.config_type == name:
            return record
    return None
