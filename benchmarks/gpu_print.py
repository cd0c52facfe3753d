"""The report of ``gpu.py`` as text."""

from __future__ import annotations

from collections.abc import Iterator

from gpu_table import gains, winners, worth_it


def lines(report: dict) -> Iterator[str]:
    yield report['settings']['note'] or str(report.get('facts', {}).get('device'))
    yield from (f'  {name}: {value}' for name, value in report.get('facts', {}).items())
    yield from _operations(report)
    for part in (
        'depthwise of torch',
        'tune',
        'agreement',
        'backbones',
        'memory',
        'residual_dtype',
    ):
        for title, entries in report.get(part, {}).items():
            yield f'\n{part}, {title}'
            rows = sorted(entries.items(), key=_ms) if part == 'backbones' else entries.items()
            yield from (f'  {name:56} {_short(entry)}' for name, entry in rows)
    yield from _goals(report)
    yield from (f'FAILED {part}: {reason}' for part, reason in report.get('failed', {}).items())


def _operations(report: dict) -> Iterator[str]:
    for title, operations in report.get('operations', {}).items():
        yield f'\noperations, {title}: ms, gain over torch and library, floor, errors of triton and torch'
        for name, stages in operations.items():
            yield f'  {name}: {"worth it" if worth_it(stages) else "leave it to torch"}'
            faster = gains(stages)
            yield from (
                f'    {stage}  {_operation(entry, faster.get(stage))}'
                for stage, entry in stages.items()
            )
    if 'operations' in report:
        yield '\nfor dispatch.MEASURED:'
        yield from (f'    {name!r}: {text!r},' for name, text in winners(report).items())


def _operation(entry: dict, gain: float | None) -> str:
    if gain is None:
        return _short(entry)
    times = '  '.join(f'{name} {ms:8.4g}' for name, ms in entry['ms'].items())
    error = '{triton:.1e} {torch:.1e}'.format(**entry['error'])
    return f'{times}  {gain:5.2f}x  floor {entry["floor_ms"]}  {error}{"" if entry["right"] else "  WRONG"}'


def _goals(report: dict) -> Iterator[str]:
    yield '\ngoals: our fastest form over the fastest peer [over timm eager channels_last]'
    for case, found in report.get('goals', {}).items():
        if 'ratio' not in found:
            yield f'  {case:36} {found["verdict"]}'
            continue
        yield (
            f'  {case:36} {found["ratio"]:.2f}x, goal {found["goal"]}: {found["verdict"]} [{found["to_anchor"]}x, '
            f'goal {found["goal_to_anchor"]}: {found["verdict_to_anchor"]}]'
        )
        yield (
            f'    {found["ours"]}: {found["ms"]} ms; {found["peer"]}: {found["peer_ms"]} ms; '
            f'peers compiled: {found["compiled_peers"]}'
        )
    yield '\nmemory goals: what a block keeps over timm; peak of a step over the least of a peer'
    for title, modes in report.get('memory goals', {}).items():
        yield from (f'  {title}, {name}: {_short(entry)}' for name, entry in modes.items())


def _ms(row: tuple[str, dict]) -> float:
    return row[1].get('ms', float('inf'))


def _short(entry) -> str:
    if not isinstance(entry, dict):
        return f'{entry:.4g}' if isinstance(entry, float) else str(entry)
    return '; '.join(
        f'{name} {_megabytes(value) if name.endswith("_bytes") else _short(value)}'
        for name, value in entry.items()
    )


def _megabytes(value: int | None) -> str:
    return 'none' if value is None else f'{value / 1e6:,.1f} MB'
