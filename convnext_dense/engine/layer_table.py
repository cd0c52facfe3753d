"""The table that the log shows: what is in each layer, how many parameters, learning rate and weight decay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

_WIDTH_OF_CONTENT = 56


def get_part(name: str) -> tuple[str, int | None]:
    """Where a parameter is, coarsely: ('stages.2', 4) for a block, ('downsample_layers', 1), ('stem', None).

    Args:
        name: relative to the backbone, of a parameter whose layer id is known.
    """
    parts = name.split('.')
    if parts[0] == 'stages':
        return f'stages.{parts[1]}', int(parts[2])
    if parts[0] == 'downsample_layers':
        return ('stem', None) if parts[1] == '0' else (parts[0], int(parts[1]))
    return parts[0], None


def format_table(groups: Iterable[Mapping], part_of: Mapping[int, tuple[str, int | None]]) -> str:
    """One line for each layer id and learning rate, at most 120 columns wide.

    Args:
        groups: parameter groups with ``layer_id``, ``lr``, ``params`` and, unless the optimizer's own default holds,
            ``weight_decay``.
        part_of: :func:`get_part` of each parameter, by the parameter's id().
    """
    rows = defaultdict(list)
    for group in groups:
        rows[group['layer_id'], group['lr']].append(group)
    lines = [('id', 'contains', 'parameters', 'lr', 'weight decay')]
    for (layer_id, lr), members in rows.items():
        params = [param for group in members for param in group['params']]
        lines.append(
            (
                str(layer_id),
                describe_parts(part_of[id(param)] for param in params),
                f'{sum(param.numel() for param in params):,}',
                f'{lr:.3e}',
                _describe_decay(members),
            )
        )
    return '\n'.join(
        f'{a:>4}  {b:<{_WIDTH_OF_CONTENT}}  {c:>13}  {d:>9}  {e}'.rstrip()
        for a, b, c, d, e in lines
    )


def describe_parts(parts: Iterable[tuple[str, int | None]]) -> str:
    """[('stages.2', 0), ('stages.2', 1), ('norm0', None)] -> 'stages.2 blocks 0-1, norm0', cut to the column."""
    numbers = {}
    for section, number in parts:
        numbers.setdefault(section, set()).add(number)
    texts = [_describe_section(section, found) for section, found in numbers.items()]
    text = ', '.join(texts)
    return (
        text
        if len(text) <= _WIDTH_OF_CONTENT
        else f'{text[: _WIDTH_OF_CONTENT - 4].rstrip(", ")} ...'
    )


def _describe_section(section: str, numbers: set[int | None]) -> str:
    if None in numbers:
        return section
    if section == 'downsample_layers':
        return f'{section}.{_ranges(sorted(numbers))}'
    return f'{section} block{"s" if len(numbers) > 1 else ""} {_ranges(sorted(numbers))}'


def _ranges(numbers: Sequence[int]) -> str:
    """[0, 1, 2, 5] -> '0-2,5'."""
    runs = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ','.join(f'{first}-{last}' if last > first else str(first) for first, last in runs)


def _describe_decay(groups: Sequence[Mapping]) -> str:
    """'0.05 (0 on 1,152)': the decay of most, then of how many parameters it is another."""
    counts = defaultdict(int)
    for group in groups:
        text = f'{group["weight_decay"]:g}' if 'weight_decay' in group else "optimizer's"
        counts[text] += sum(param.numel() for param in group['params'])
    most, *others = sorted(counts, key=counts.get, reverse=True)
    return ' '.join([most, *(f'({other} on {counts[other]:,})' for other in others)])
