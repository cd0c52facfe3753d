"""Checkpoint files from one library's layout to another's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from convnext_dense.checkpoints.convert import Conversion, convert
from convnext_dense.checkpoints.errors import CheckpointError
from convnext_dense.checkpoints.layouts import LAYOUTS
from convnext_dense.checkpoints.read import read_file, write_checkpoint
from convnext_dense.checkpoints.report import shorten
from convnext_dense.checkpoints.unwrap import Weights, unwrap

LAYOUT_NAMES = tuple(LAYOUTS)
_SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors')


def convert_checkpoint(
    source: str,
    path: str | Path,
    to: str,
    ema: bool | None = None,
    trust_pickle: bool = False,
    force: bool = False,
) -> str:
    """Convert the ConvNeXt in a file to the names and shapes of layout ``to``, and return a report of it.

    Weights are written bare, as every library reads them. A whole detector or segmentor with mmengine's ``meta`` (its
    classes) keeps that beside its ``state_dict``, in torch's format; optimizers and the like are left.

    Args:
        source: path, https:// address, 'timm:NAME' or 'hf-hub:ORG/NAME'.
        path: file to write, atomically; .safetensors, or .pth, .pt or .bin for torch's format.
        to: a key of :data:`convnext_dense.checkpoints.LAYOUTS`.
        ema: True takes averaged weights, False plain ones, None those that the writing library would load.
        trust_pickle: RUN THE CODE that a refused file holds.
        force: replace ``path`` if it exists.

    Raises:
        CheckpointError: ``path`` exists or has another suffix; or the source cannot be read or converted.
    """
    path = Path(path).expanduser()
    if path.suffix not in _SUFFIXES:
        raise CheckpointError(
            f'the name of the file to write must end in {", ".join(_SUFFIXES)}; got {path}'
        )
    if path.exists() and not force:
        raise CheckpointError(f'{path} exists. Give another name, or --force to replace it.')
    content = read_file(source, trust_pickle)
    try:
        weights = unwrap(content, ema)
        conversion = convert(weights.state_dict, to)
    except ValueError as error:
        raise CheckpointError(f'{source}: {error}') from error
    tensors = {name: tensor.contiguous() for name, tensor in conversion.state_dict.items()}
    meta = (
        content.get('meta') if isinstance(content, Mapping) and conversion.read.own_prefix else None
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(
        dict(meta=meta, state_dict=tensors) if meta and path.suffix != '.safetensors' else tensors,
        path,
    )
    return _report(str(source), weights, path, conversion)


def _report(source: str, weights: Weights, path: Path, conversion: Conversion) -> str:
    read = conversion.read
    behind = f', names behind {read.prefix!r}' if read.prefix else ''
    lines = [
        f'{source}: layout {read.layout}{weights.where}{behind}, {read.trunk.arch}',
        f'{path}: layout {conversion.to}, {len(conversion.state_dict)} tensors, '
        f'{sum(tensor.numel() for tensor in conversion.state_dict.values()):,} numbers, '
        f'{path.stat().st_size / 2**20:.1f} MiB',
    ]
    reasons: dict[str, list[str]] = {}
    for names in (read.dropped, conversion.left_out):
        for name, reason in names.items():
            reasons.setdefault(reason, []).append(name)
    return '\n'.join(
        lines + [f'  left out  {shorten(names)} ({reason})' for reason, names in reasons.items()]
    )
