"""Explains, before a run starts, why the data set of a config cannot be read and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convnext_dense.data.records import DatasetRecord, find_record


def _is_there(path: Path) -> bool:
    """Whether ``path`` is a file, or a folder that is not empty."""
    if path.is_dir():
        return any(path.iterdir())
    return path.is_file()


def explain_missing(
    config_type: str, root: str | Path, config: str = 'CONFIG', parts: Sequence[str] = ()
) -> str | None:
    """Explain why a data set cannot be read and what to do; None if it seems to be complete.

    Looks at names only, which takes no time. Of a data set without a record only the root must
    exist.

    Args:
        config_type: type of the data set in a config, with or without a scope: 'ADE20KDataset',
            'mmseg.ADE20KDataset'.
        root: ``data_root`` of the data set.
        config: path of the config, for the commands in the explanation.
        parts: the files and folders that this config reads, if it names them: no others need to be
            there. If none of them belongs to the data set, the config reads other data in the same
            format, about which nothing is known.
    """
    record = find_record(config_type)
    folder = Path(root).absolute()
    if record is None:
        is_address = ':/' in str(root)
        if is_address or folder.exists():
            return None
        return (
            f'{folder} does not exist: it is the data_root of {config}, whose first lines '
            'say what belongs there'
        )
    absent = _list_absent(record, folder, parts)
    if not absent:
        return None
    sample_path = ('sample', *record.sample.folder.parts)
    if folder.parts[-len(sample_path) :] == sample_path:
        return (
            f'The drawn sample scenes are not in {folder}. Write them, from the folder of the '
            'project, with: convnext-dense data sample'
        )
    return _explain_download(record, folder, absent, config)


def _list_absent(record: DatasetRecord, root: Path, parts: Sequence[str]) -> list[str]:
    """The parts of the data set that the config reads and that are not there."""
    read_parts = {str(Path(part or '.')) for part in parts}
    absent = []
    for part in record.parts:
        is_read = part in read_parts or not parts
        if is_read and not _is_there(root / part):
            absent.append(part)
    return absent


def _explain_download(record: DatasetRecord, root: Path, absent: list[str], config: str) -> str:
    lines = [f'{record.title} is not complete under {root}: missing or empty: {", ".join(absent)}.']
    meant = record.find_root(root)
    if meant is not None and meant != root:
        lines.append(f'It seems to be in {meant}: set data_root to that.')
    lines += [
        f'To get it: {record.download}. Unpack it to {root}',
        f'  and check it with: {record.check_command.format(root=root)}',
        f'To try this config on drawn scenes instead: convnext-dense train {config} --sample',
    ]
    return '\n'.join(lines)
