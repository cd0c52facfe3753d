"""Why a config's data set cannot be read from its folder, and what to do about it, before a run starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from convnext_dense.data import ade20k, coco, coco_check, imagenet


@dataclass(frozen=True)
class Source:
    """What a data set looks like on disk and where it comes from.

    Attributes:
        name: as its authors call it.
        parts: what must be there under the root: files, and folders with at least one file.
        offered: the file to get and the page that offers it.
        prepare: the tool's command that checks a download; ``{root}`` stands for the folder.
        find_root: finds the right folder near a wrong one.
        sample: folder of the drawn scenes that stand in for it, inside the folder of all samples.
    """

    name: str
    parts: tuple[str, ...]
    offered: str
    prepare: str
    find_root: Callable[[Path], Path | None]
    sample: Path


# By the type of the data set in a config, without its scope.
SOURCES = {
    'ADE20KDataset': Source(
        name='ADE20K (SceneParse150)',
        parts=tuple(
            f'{kind}/{split}' for kind in ('images', 'annotations') for split in ade20k.SPLITS
        ),
        offered='ADEChallengeData2016.zip from the MIT Scene Parsing Benchmark, https://sceneparsing.csail.mit.edu',
        prepare='python tools/prepare_data.py ade20k --root {root}',
        find_root=ade20k.find_root,
        sample=ade20k.SAMPLE_FOLDER,
    ),
    'CocoDataset': Source(
        name='COCO 2017',
        parts=tuple(
            part
            for split in coco.SPLITS
            for part in (f'annotations/instances_{split}2017.json', f'{split}2017')
        ),
        offered='train2017.zip, val2017.zip and annotations_trainval2017.zip from https://cocodataset.org/#download',
        prepare='python tools/prepare_data.py coco --root {root}',
        find_root=coco_check.find_root,
        sample=coco.SAMPLE_FOLDER,
    ),
    'ImageNet': Source(
        name='ImageNet-1k (ILSVRC2012)',
        parts=imagenet.SPLITS,
        offered='ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from https://www.image-net.org/download.php',
        prepare='python tools/prepare_data.py imagenet --root {root}',
        find_root=imagenet.find_root,
        sample=imagenet.SAMPLE_FOLDER,
    ),
    'ImageNet22k': Source(
        name='ImageNet-22k (fall 2011)',
        parts=('train',),
        offered='fall11_whole.tar from https://www.image-net.org/download.php, every class a folder in train',
        prepare='ls {root}/train | wc -l  (21841)',
        find_root=imagenet.find_root,
        sample=imagenet.SAMPLE_FOLDER,
    ),
}


def _is_there(path: Path) -> bool:
    return path.is_file() or path.is_dir() and any(path.iterdir())


def why_missing(
    dataset: str, root: str | Path, config: str = 'CONFIG', parts: Sequence[str] = ()
) -> str | None:
    """Why the data set of type ``dataset`` cannot be read under ``root``, and what to do; None when nothing is amiss.

    Only names are looked at, so it takes no time. Of a type that is not in ``SOURCES`` only the root must exist.

    Args:
        dataset: type as a config writes it, with or without a scope: 'ADE20KDataset', 'mmseg.ADE20KDataset'.
        root: the config's ``data_root``.
        config: its path, for the command that trains on drawn scenes in place of the data set.
        parts: the files and folders that this config reads, where it names them: no others are asked for. When none is
            the data set's own, it is other data of the same format, which is not known.
    """
    remote = ':/' in str(root)
    source, root = SOURCES.get(dataset.rpartition('.')[2]), Path(root).absolute()
    if source is None:
        return (
            None
            if root.exists() or remote
            else (
                f'{root} does not exist: it is the data_root of {config}, whose first lines '
                'say what belongs there'
            )
        )
    needed = [
        part
        for part in source.parts
        if not parts or part in {str(Path(given or '.')) for given in parts}
    ]
    absent = [part for part in needed if not _is_there(root / part)]
    if not absent:
        return None
    if root.parts[-1 - len(source.sample.parts) :] == ('sample', *source.sample.parts):
        return (
            f'The drawn sample scenes are not in {root}. Write them, from the folder of the project, with: '
            'python tools/prepare_data.py sample'
        )
    near = source.find_root(root)
    lines = [f'{source.name} is not complete under {root}: missing or empty: {", ".join(absent)}.']
    if near is not None and near != root:
        lines.append(f'It seems to be in {near}: set data_root to that.')
    return '\n'.join(
        [
            *lines,
            f'To get it: {source.offered}. Unpack it to {root}',
            f'  and check it with: {source.prepare.format(root=root)}',
            f'To try this config on drawn scenes instead: python tools/train.py {config} --sample',
        ]
    )
