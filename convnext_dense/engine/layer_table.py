"""The log's table of layers: contents, number of parameters, learning rate and weight decay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

_CONTENTS_WIDTH = 56


class Part(NamedTuple):
    """Where a parameter is: section of the model, and number of the block or layer in it."""

    section: str
    number: int | None = None


def get_part(name: str) -> Part:
    """Part of a backbone's parameter: ('stages.2', 4), ('downsample_layers', 1), ('stem', None).

    Args:
        name: relative to the backbone, of a parameter whose layer id is known.
    """
    names = name.split('.')
    if names[0] == 'stages':
        return Part(f'stages.{names[1]}', int(names[2]))
    if names[0] == 'downsample_layers':
        if names[1] == '0':
            return Part('stem')
        return Part('downsample_layers', int(names[1]))
    return Part(names[0])


def format_table(groups: Iterable[Mapping], parts: Mapping[int, Part]) -> str:
    """A line for each layer id and learning rate, at most 120 columns wide.

    Args:
        groups: parameter groups with ``layer_id``, ``lr``, ``params`` and ``weight_decay``, which
            may be absent: the optimizer's default.
        parts: part of each parameter, by the parameter's id().
    """
    rows: dict[tuple[int, float], list[Mapping]] = defaultdict(list)
    for group in groups:
        rows[group['layer_id'], group['lr']].append(group)
    lines = [_format_line('id', 'contains', 'parameters', 'lr', 'weight decay')]
    for (layer_id, lr), row in rows.items():
        params = [param for group in row for param in group['params']]
        contents = describe_parts(parts[id(param)] for param in params)
        count = sum(param.numel() for param in params)
        decay = _describe_decay(row)
        lines.append(_format_line(str(layer_id), contents, f'{count:,}', f'{lr:.3e}', decay))
    return '\n'.join(lines)


def _format_line(layer_id: str, contents: str, count: str, lr: str, decay: str) -> str:
    return f'{layer_id:>4}  {contents:<{_CONTENTS_WIDTH}}  {count:>13}  {lr:>9}  {decay}'.rstrip()


def describe_parts(parts: Iterable[Part]) -> str:
    """[('stages.2', 0), ('stages.2', 1), ('norm0', None)] -> 'stages.2 blocks 0-1, norm0'.

    Longer texts than the column are cut.
    """
    numbers: dict[str, set[int]] = {}
    for section, number in parts:
        found = numbers.setdefault(section, set())
        if number is not None:
            found.add(number)
    text = ', '.join(_describe_section(section, sorted(n)) for section, n in numbers.items())
    if len(text) <= _CONTENTS_WIDTH:
        return text
    return f'{text[: _CONTENTS_WIDTH - 4].rstrip(", ")} ...'


def _describe_section(section: str, numbers: Sequence[int]) -> str:
    if not numbers:
        return section
    if section == 'downsample_layers':
        return f'{section}.{_format_ranges(numbers)}'
    noun = 'block' if len(numbers) == 1 else 'blocks'
    return f'{section} {noun} {_format_ranges(numbers)}'


def _format_ranges(numbers: Sequence[int]) -> str:
    """[0, 1, 2, 5] -> '0-2,5'."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    texts = []
    for first, last in ranges:
        texts.append(str(first) if first == last else f'{first}-{last}')
    return ','.join(texts)


def _describe_decay(groups: Sequence[Mapping]) -> str:
    """'0.05 (0 on 1,152)': the weight decay of most parameters, then others with their count."""
    counts: dict[str, int] = defaultdict(int)
    for group in groups:
        decay = "optimizer's"
        if 'weight_decay' in group:
            decay = f'{group["weight_decay"]:g}'
        counts[decay] += sum(param.numel() for param in group['params'])
    most, *others = sorted(counts, key=lambda decay: counts[decay], reverse=True)
    return ' '.join([most, *(f'({other} on {counts[other]:,})' for other in others)])
