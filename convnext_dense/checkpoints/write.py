"""Writing checkpoints: a file is either as before or complete, whatever happens in between."""

from __future__ import annotations

import glob
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from convnext_dense.errors import CheckpointError


def write_checkpoint(content: Mapping, path: str | Path) -> None:
    """Write ``content`` as .safetensors or as a torch file, by the suffix of ``path``, atomically.

    A .safetensors file holds names and tensors only. A tensor that shares memory with another one
    is written in full, a non-contiguous one in order. A checksum of each tensor is stored too,
    which :func:`convnext_dense.checkpoints.read.read_file` compares.

    Args:
        content: names and tensors; for a torch file, anything.
        path: the file to write.

    Raises:
        CheckpointError: something other than tensors, for .safetensors.
        OSError: the file cannot be written; ``path`` is then as it was before.
    """
    path = Path(path)
    if path.suffix != '.safetensors':
        with written_atomically(path) as temporary:
            torch.save(content, temporary)
        return
    from safetensors.torch import save_file

    tensors = _separate(content)
    sums = {name: checksum(tensor) for name, tensor in tensors.items()}
    metadata = {'format': 'pt', 'crc32': json.dumps(sums)}
    with written_atomically(path) as temporary:
        save_file(tensors, str(temporary), metadata=metadata)


@contextmanager
def written_atomically(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` to write to; on leaving, it replaces ``path``.

    The bytes are on the disk (fsync) before the name changes (rename), and so is the new name when
    this returns. A crash, a full disk or a power cut therefore leaves the old file or the new one.
    Half-written files of earlier crashes are removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f'.{glob.escape(path.name)}.*.tmp'):
        stale.unlink(missing_ok=True)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        temporary.chmod(mode)  # safetensors makes files that only their owner may read
        _sync(temporary)
        os.replace(temporary, path)
    except BaseException:  # an interrupt too
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent)


def checksum(tensor: Tensor) -> int:
    """CRC-32 of a tensor's bytes."""
    return zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data)


def _separate(content: Mapping) -> dict[str, Tensor]:
    """Contiguous tensors on the CPU that share no memory, as safetensors requires."""
    wrong = []
    for name, value in content.items():
        if not isinstance(value, Tensor):
            wrong.append(f'{name}: {type(value).__name__}')
    if wrong:
        raise CheckpointError(
            'a .safetensors file holds names and tensors only; this content also has '
            f'{", ".join(wrong[:4])}. Write a .pth file, or the state dict alone.'
        )
    taken: set[int] = set()
    separate = {}
    for name, value in content.items():
        tensor = value.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        is_shared = storage.data_ptr() in taken or tensor.nbytes < storage.nbytes()
        taken.add(storage.data_ptr())
        separate[name] = tensor.clone() if is_shared else tensor
    return separate


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
