"""Why a config's data set cannot be read from its folder, and what to do about it, before a run starts."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from convnext_dense.data import ade20k


@dataclass(frozen=True)
class Source:
    """What a data set looks like on disk and where it comes from.

    Attributes:
        name: as its authors call it.
        folders: that must be there under the root, each with at least one file.
        offered: the file to get and the page that offers it.
        prepare: the tool's command that checks a download; ``{root}`` stands for the folder.
        find_root: finds the right folder near a wrong one.
    """
    name: str
    folders: tuple[str, ...]
    offered: str
    prepare: str
    find_root: Callable[[Path], Path | None]


# By the type of the data set in a config, without its scope.
SOURCES = {
    'ADE20KDataset': Source(
        name='ADE20K (SceneParse150)',
        folders=tuple(f'{kind}/{split}' for kind in ('images', 'annotations') for split in ade20k.SPLITS),
        offered='ADEChallengeData2016.zip from the MIT Scene Parsing Benchmark, https://sceneparsing.csail.mit.edu',
        prepare='python tools/prepare_data.py ade20k --root {root}',
        find_root=ade20k.find_root),
}


def why_missing(dataset: str, root: str | Path, config: str = 'CONFIG') -> str | None:
    """Why the data set of type ``dataset`` cannot be read under ``root``, and what to do; None when nothing is amiss.

    Only folders are looked at, so it takes no time. A type that is not in ``SOURCES`` gives None: it is not known.

    Args:
        dataset: type as a config writes it, with or without a scope: 'ADE20KDataset', 'mmseg.ADE20KDataset'.
        root: the config's ``data_root``.
        config: its path, for the command that trains on drawn scenes in place of the data set.
    """
    source, root = SOURCES.get(dataset.rpartition('.')[2]), Path(root).absolute()
    if source is None:
        return None
    absent = [folder for folder in source.folders if not (root / folder).is_dir() or not any((root / folder).iterdir())]
    if not absent:
        return None
    if root.parts[-3:] == ('sample', *ade20k.SAMPLE_FOLDER.parts):
        return (f'The drawn sample scenes are not in {root}. Write them, from the folder of the project, with: '
                'python tools/prepare_data.py sample')
    near = source.find_root(root)
    lines = [f'{source.name} is not complete under {root}: missing or empty: {", ".join(absent)}.']
    if near is not None and near != root:
        lines.append(f'It seems to be in {near}: set data_root to that.')
    return '\n'.join([
        *lines, f'To get it: {source.offered}. Unpack it to {root}',
        f'  and check it with: {source.prepare.format(root=root)}',
        f'To try this config on drawn scenes instead: python tools/train.py {config} --sample'])
