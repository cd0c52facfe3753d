"""Reading checkpoints, on disk and on the web, without running code that they hold."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convnext_dense.checkpoints.file_format import has_packed_members, identify
from convnext_dense.checkpoints.safe_pickle import replace_stand_ins, safe_globals
from convnext_dense.checkpoints.sources import locate
from convnext_dense.checkpoints.unwrap import unwrap
from convnext_dense.checkpoints.write import checksum
from convnext_dense.errors import CheckpointError, first_line


def read_checkpoint(
    source: str | Path, ema: bool | None = None, trust_pickle: bool = False
) -> dict[str, Tensor]:
    """Read the weights in ``source`` by their names in the file, on the CPU.

    Args:
        source: see :func:`read_file`.
        ema: whether to take averaged weights, see :func:`convnext_dense.checkpoints.unwrap`.
        trust_pickle: see :func:`read_file`.

    Raises:
        CheckpointNotFoundError: no such file.
        CheckpointError: :func:`read_file` refuses the file, or it holds no weights.
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
) -> Any:
    """Read the whole content of a .safetensors or torch file, on the CPU.

    The bytes decide the format, not the name. Pickled content is limited to tensors, plain
    containers and the values listed in :mod:`convnext_dense.checkpoints.safe_pickle`; anything else
    is refused before it is created.

    Args:
        source: a path, a folder, an https:// address, 'timm:NAME' or 'hf-hub:ORG/NAME', see
            :func:`convnext_dense.checkpoints.sources.locate`.
        trust_pickle: read a file that is refused as unsafe by Python's pickle, which RUNS WHATEVER
            CODE THE FILE HOLDS.
        mmap: map the file into memory if its format allows it: nothing is copied, and writing to a
            tensor does not change the file. While such tensors are in use, replace the file (by a
            rename), but never write into it.
        allow: more objects that the file may name: 'module.name' -> what to create instead.

    Raises:
        CheckpointNotFoundError: no such file.
        CheckpointError: the file cannot be fetched, is no checkpoint, is cut off or damaged, or
            holds more than weights.
    """
    location = locate(source)
    contents = []
    for path in location.paths:
        contents.append(_read(path, str(source), trust_pickle, mmap, allow))
    if len(contents) == 1 and not location.names:
        return contents[0]
    merged: dict[str, Any] = {}
    for content in contents:
        if not isinstance(content, Mapping):
            raise CheckpointError(
                f'{source}: each part of a split checkpoint must hold names and tensors'
            )
        merged |= content
    missing = sorted(location.names - set(merged))
    if missing:
        raise CheckpointError(
            f'{source}: the parts lack {len(missing)} of the {len(location.names)} weights that '
            f'their index names: {", ".join(missing[:4])}. Download the parts again.'
        )
    return merged


def _read(
    path: Path, source: str, trust_pickle: bool, mmap: bool, allow: Mapping[str, Callable] | None
) -> Any:
    where = source if source == str(path) else f'{source} ({path})'
    try:
        kind = identify(path)
        if kind == 'safetensors':
            return _read_safetensors(path)
        if kind == 'pickle':
            raise pickle.UnpicklingError('it is a pickle that torch.save did not write')
        can_map = mmap and kind == 'torch' and not has_packed_members(path)
        with safe_globals(allow):
            content = torch.load(path, map_location='cpu', weights_only=True, mmap=can_map)
        return replace_stand_ins(content)
    except pickle.UnpicklingError as error:
        if not trust_pickle:
            raise CheckpointError(_explain_refusal(where, error)) from error
        return _read_trusted(path, where, kind)
    except Exception as error:  # torch, zipfile and safetensors raise many kinds for damaged files
        raise CheckpointError(
            f'{where} cannot be read as a checkpoint: {first_line(error)}. Expected a complete '
            '.safetensors or torch file that holds weights: download it again, or write it again '
            'where it was made.'
        ) from error


def _read_trusted(path: Path, where: str, kind: str) -> Any:
    warnings.warn(
        f'trust_pickle: {where} is read by pickle, and whatever code it holds RUNS NOW, with your '
        'rights',
        stacklevel=4,
    )
    try:
        if kind == 'pickle':
            with path.open('rb') as file:
                return pickle.load(file)
        return torch.load(path, map_location='cpu', weights_only=False)
    except Exception as error:  # of the file's code; or TORCH_FORCE_WEIGHTS_ONLY_LOAD forbids it
        raise CheckpointError(
            f'{where} cannot be read by pickle either: {first_line(error)}'
        ) from error


def _explain_refusal(where: str, error: Exception) -> str:
    named = re.search(r'GLOBAL (\S+) (?:was not|whose)', str(error))
    what = 'not plain values'
    if named:
        what = f'it names {named[1]}'
    else:
        for line in str(error).strip().splitlines():
            if line.strip() and 'documentation' not in line:
                what = line
    return (
        f'{where} cannot be read as a checkpoint: it holds more than weights ({what}), and loading '
        'that could run code. Nothing in it was run. Save its state_dict alone where it was made; '
        'or, if you trust whoever made the file, --trust-pickle (trust_pickle=True) lets it run.'
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import safe_open

    tensors = {}
    with safe_open(str(path), framework='pt', device='cpu') as file:
        sums = json.loads((file.metadata() or {}).get('crc32', '{}'))
        for name in file.keys():  # noqa: SIM118  (the file is no mapping)
            tensors[name] = file.get_tensor(name)
    for name in sums.keys() & tensors.keys():
        if sums[name] != checksum(tensors[name]):
            raise CheckpointError(f'it is damaged: {name} inside does not match its checksum')
    return tensors
