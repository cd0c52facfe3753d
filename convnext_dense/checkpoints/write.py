"""Files that are either as before or complete, whatever happens while they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_atomically(path: str | Path) -> Iterator[Path]:
    """The path of a temporary file beside ``path`` to write to; on leaving, it takes the place of ``path``.

    The bytes are on the disk (fsync) before the name changes (rename), and the name before this returns, so a crash,
    a full disk or a power cut leaves the old file or the new one. What an earlier crash left half written is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f'.{_escape(path.name)}.*.tmp'):
        stale.unlink(missing_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # safetensors makes files that nobody else may read
        _sync(temporary)
        os.replace(temporary, path)
    except BaseException:  # an interrupt too
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _escape(name: str) -> str:
    return ''.join(f'[{letter}]' if letter in '*?[' else letter for letter in name)
