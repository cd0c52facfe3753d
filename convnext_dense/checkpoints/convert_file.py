"""Convert a checkpoint file from one library's layout to another's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from convnext_dense.checkpoints.convert import Conversion, convert
from convnext_dense.checkpoints.layouts import LAYOUTS
from convnext_dense.checkpoints.read import read_file
from convnext_dense.checkpoints.report import group_by_reason, shorten
from convnext_dense.checkpoints.unwrap import Weights, unwrap
from convnext_dense.checkpoints.write import write_checkpoint
from convnext_dense.errors import CheckpointError

_SUFFIXES = ('.pth', '.pt', '.bin', '.safetensors')


def convert_checkpoint(
    source: str,
    path: str | Path,
    to: str,
    ema: bool | None = None,
    trust_pickle: bool = False,
    force: bool = False,
) -> str:
    """Convert the ConvNeXt in a file to the names and shapes of layout ``to``; return a report.

    Weights are written as a bare state dict, which every library reads. In torch's format, a whole
    detector or segmentor with mmengine's ``meta`` (its classes) keeps that beside its
    ``state_dict``. Optimizers and the like are left out.

    Args:
        source: path, https:// address, 'timm:NAME' or 'hf-hub:ORG/NAME'.
        path: file to write, atomically: .safetensors, or .pth, .pt or .bin for torch's format.
        to: a key of :data:`convnext_dense.checkpoints.LAYOUTS`.
        ema: True takes averaged weights, False plain ones, None those that the library which wrote
            the file would load.
        trust_pickle: RUN THE CODE that a refused file holds.
        force: replace ``path`` if it exists.

    Raises:
        CheckpointError: ``path`` exists or has another suffix, ``to`` is unknown, or the source
            cannot be read or converted.
    """
    path = Path(path).expanduser()
    if path.suffix not in _SUFFIXES:
        raise CheckpointError(
            f'the name of the file to write must end in {", ".join(_SUFFIXES)}; got {path}'
        )
    if to not in LAYOUTS:
        raise CheckpointError(f'no layout is called {to!r}; there are {", ".join(LAYOUTS)}')
    if path.exists() and not force:
        raise CheckpointError(f'{path} exists. Give another name, or --force to replace it.')
    content = read_file(source, trust_pickle)
    try:
        weights = unwrap(content, ema)
        conversion = convert(weights.state_dict, to)
    except ValueError as error:
        raise CheckpointError(f'{source}: {error}') from error

    tensors = {name: tensor.contiguous() for name, tensor in conversion.state_dict.items()}
    written: Mapping = tensors
    is_whole_model = isinstance(content, Mapping) and bool(conversion.read.own_prefix)
    if is_whole_model and content.get('meta') and path.suffix != '.safetensors':
        written = dict(meta=content['meta'], state_dict=tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(written, path)
    return _report(str(source), weights, path, conversion)


def _report(source: str, weights: Weights, path: Path, conversion: Conversion) -> str:
    read = conversion.read
    below = f', names below {read.prefix!r}' if read.prefix else ''
    numbers = sum(tensor.numel() for tensor in conversion.state_dict.values())
    lines = [
        f'{source}: layout {read.layout}{weights.where}{below}, {read.trunk.arch}',
        f'{path}: layout {conversion.to}, {len(conversion.state_dict)} tensors, '
        f'{numbers:,} numbers, {path.stat().st_size / 2**20:.1f} MiB',
    ]
    for reason, names in group_by_reason(read.dropped | conversion.left_out).items():
        lines.append(f'  left out  {shorten(names)} ({reason})')
    return '\n'.join(lines)
