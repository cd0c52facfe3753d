"""Checkpoint files, on disk and on the web: read without running code that they hold, written whole or not at all."""

from __future__ import annotations

import json
import pickle
import re
import warnings
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from convnext_dense.checkpoints.errors import CheckpointError, first_line
from convnext_dense.checkpoints.file_format import has_packed_members, identify
from convnext_dense.checkpoints.safe_pickle import allowed, settle
from convnext_dense.checkpoints.sources import locate
from convnext_dense.checkpoints.unwrap import unwrap
from convnext_dense.checkpoints.write import written_atomically


def read_checkpoint(
    source: str | Path, ema: bool | None = None, trust_pickle: bool = False
) -> dict[str, Tensor]:
    """The weights in ``source`` by their names in the file, on the CPU; what is around them is opened.

    Args:
        source, trust_pickle: see :func:`read_file`.
        ema: whether to take averaged weights; see :func:`convnext_dense.checkpoints.unwrap`.

    Raises:
        CheckpointNotFoundError: no such file.
        CheckpointError: what :func:`read_file` refuses, or content without weights.
    """
    content = read_file(source, trust_pickle)
    try:
        return unwrap(content, ema).state_dict
    except ValueError as error:
        raise CheckpointError(f'{source} holds no weights to load: {error}') from error


def read_file(
    source: str | Path,
    trust_pickle: bool = False,
    *,
    mmap: bool = True,
    allow: Mapping[str, Callable] | None = None,
) -> object:
    """The whole content of a .safetensors or torch file, as it is, on the CPU.

    The format is told from the bytes. Pickled content is limited to tensors, plain containers, and the values on the
    list in :mod:`convnext_dense.checkpoints.safe_pickle`; anything else is refused before it is made.

    Args:
        source: what :func:`convnext_dense.checkpoints.sources.locate` takes: a path, a folder, an https:// address,
            'timm:NAME', 'hf-hub:ORG/NAME'.
        trust_pickle: read a file that is refused as unsafe by Python's pickle, which RUNS WHATEVER CODE THE FILE HOLDS.
        mmap: map the file into memory where its format allows: nothing is copied, and writing to a tensor leaves the
            file as it is. While such tensors are in use, replace the file (a rename), never write into it.
        allow: further objects that the file may name, as 'module.name' -> what to make instead.

    Raises:
        CheckpointNotFoundError: no such file.
        CheckpointError: the file cannot be fetched; is no checkpoint; is cut off or damaged; holds more than weights.
    """
    location = locate(source)
    contents = [_read(path, str(source), trust_pickle, mmap, allow) for path in location.paths]
    if len(contents) == 1 and not location.names:
        return contents[0]
    if not all(isinstance(content, Mapping) for content in contents):
        raise CheckpointError(
            f'{source}: each part of a split checkpoint must hold names and tensors'
        )
    merged = {name: value for content in contents for name, value in content.items()}
    missing = sorted(location.names - set(merged))
    if missing:
        raise CheckpointError(
            f'{source}: the parts lack {len(missing)} of the {len(location.names)} weights that '
            f'their index names: {", ".join(missing[:4])}. Download the parts again.'
        )
    return merged


def write_checkpoint(content: Mapping, path: str | Path) -> None:
    """Write ``content`` to ``path``, by its suffix as .safetensors or as a torch file; complete or not at all.

    A .safetensors file takes names and tensors alone; a tensor that shares memory with another is written in full, a
    non-contiguous one in order. A checksum of each tensor is kept with them, which :func:`read_file` compares.

    Raises:
        CheckpointError: something other than tensors, for .safetensors.
        OSError: the file cannot be written; ``path`` is then as it was before.
    """
    path = Path(path)
    if path.suffix == '.safetensors':
        from safetensors.torch import save_file

        tensors = _separate(content)
        sums = json.dumps({name: _checksum(tensor) for name, tensor in tensors.items()})
        with written_atomically(path) as temporary:
            save_file(tensors, str(temporary), metadata={'format': 'pt', 'crc32': sums})
        return
    with written_atomically(path) as temporary:
        torch.save(content, temporary)


def _read(
    path: Path, source: str, trust_pickle: bool, mmap: bool, allow: Mapping[str, Callable] | None
):
    where = source if source == str(path) else f'{source} ({path})'
    try:
        kind = identify(path)
        if kind == 'safetensors':
            return _read_safetensors(path)
        if kind == 'pickle':
            raise pickle.UnpicklingError('it is a pickle that torch.save did not write')
        with allowed(allow):
            return settle(
                torch.load(
                    path,
                    map_location='cpu',
                    weights_only=True,
                    mmap=mmap and kind == 'torch' and not has_packed_members(path),
                )
            )
    except pickle.UnpicklingError as error:
        if not trust_pickle:
            raise CheckpointError(_refusal(where, error)) from error
        return _read_trusted(path, where, kind)
    except (
        Exception
    ) as error:  # torch, zipfile and safetensors each raise their own kinds for damaged files
        raise CheckpointError(
            f'{where} cannot be read as a checkpoint: {first_line(error)}. Expected a complete '
            '.safetensors or torch file that holds weights: download it again, or write it again where it '
            'was made.'
        ) from error


def _read_trusted(path: Path, where: str, kind: str):
    warnings.warn(
        f'trust_pickle: {where} is read by pickle, and whatever code it holds RUNS NOW, with your rights',
        stacklevel=4,
    )
    try:
        if kind == 'pickle':
            with path.open('rb') as file:
                return pickle.load(file)
        return torch.load(path, map_location='cpu', weights_only=False)
    except (
        Exception
    ) as error:  # of the file's own code too; or TORCH_FORCE_WEIGHTS_ONLY_LOAD forbids it
        raise CheckpointError(
            f'{where} cannot be read by pickle either: {first_line(error)}'
        ) from error


def _refusal(where: str, error: Exception) -> str:
    named = re.search(r'GLOBAL (\S+) (?:was not|whose)', str(error))
    lines = [
        line
        for line in str(error).strip().splitlines()
        if line.strip() and 'documentation' not in line
    ]
    what = f'it names {named[1]}' if named else next(iter(lines[-1:]), 'not plain values')
    return (
        f'{where} cannot be read as a checkpoint: it holds more than weights ({what}), and loading that could run '
        'code. Nothing in it was run. Save its state_dict alone where it was made; or, if you trust whoever made '
        'the file, --trust-pickle (trust_pickle=True) lets it run.'
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import safe_open

    with safe_open(str(path), framework='pt', device='cpu') as file:
        sums = json.loads((file.metadata() or {}).get('crc32', '{}'))
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    for name in sums.keys() & tensors.keys():
        if sums[name] != _checksum(tensors[name]):
            raise CheckpointError(f'it is damaged: {name} inside does not match its checksum')
    return tensors


def _separate(content: Mapping) -> dict[str, Tensor]:
    """Tensors on the CPU, in order and each with memory of its own, as the format wants them."""
    wrong = [
        f'{name}: {type(value).__name__}'
        for name, value in content.items()
        if not isinstance(value, Tensor)
    ]
    if wrong:
        raise CheckpointError(
            'a .safetensors file holds names and tensors alone; this content also has '
            f'{", ".join(wrong[:4])}. Write a .pth file, or the state dict alone.'
        )
    taken: set[int] = set()
    separate = {}
    for name, tensor in content.items():
        tensor = tensor.detach().cpu().contiguous()
        start = tensor.untyped_storage().data_ptr()
        shared = start in taken or tensor.nbytes < tensor.untyped_storage().nbytes()
        taken.add(start)
        separate[name] = tensor.clone() if shared else tensor
    return separate


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy())
