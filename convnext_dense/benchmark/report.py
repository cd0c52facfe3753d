"""The results of ``compare`` and ``scaling`` as tables and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from convnext_dense.benchmark.compare import Result
from convnext_dense.benchmark.memory import MIB
from convnext_dense.benchmark.plots import draw_bars, draw_curves
from convnext_dense.benchmark.records import format_number, format_table, write_record
from convnext_dense.benchmark.scaling import AXES, fit_slope, group_by_candidate, read_points


def write_report(results: Sequence[Result], folder: Path, axis: str | None = None) -> list[Path]:
    """Write table, JSON and picture of a comparison, or of a scaling run along ``axis``.

    The files are ``<mode>.md``, ``.json`` and ``.png``, or ``<mode>_by_<axis>.*``, in ``folder``;
    earlier ones are replaced.
    """
    title = make_title(results, axis)
    stem = results[0].setup.mode + (f'_by_{axis}' if axis else '')
    table, data, picture = (folder / f'{stem}.{suffix}' for suffix in ('md', 'json', 'png'))
    if axis:
        text = format_scaling(results, axis)
        draw_curves(results, axis, title, picture)
    else:
        text = format_comparison(results)
        draw_bars(results, title, picture)
    lines = [title, '', text]
    for result in results:
        if result.error:
            name = result.candidate.label
            if axis:
                name += f' at {AXES[axis].read(result.setup)}'
            lines += ['', f'- not complete: {name}: {result.error}']
    table.write_text('\n'.join([*lines, '']), encoding='utf-8')
    # The median is for readers of the JSON; it follows from the samples.
    entries = []
    for result in results:
        entry = {'label': result.candidate.label, 'median': result.median}
        entries.append(entry | asdict(result))
    write_record(data, entries)
    return [table, data, picture]


def format_comparison(results: Sequence[Result]) -> str:
    """Markdown: a row for each result, the fastest first.

    A ratio above 1 means so many times as fast as the fastest library network of all, or as the
    fastest one that a library gives without options.
    """
    columns = ('candidate', 'median ms', 'min ms', 'x fastest peer', 'x library default')
    fastest = [
        _find_least_median([r for r in results if r.candidate.is_peer]),
        _find_least_median([r for r in results if r.candidate.is_library_default]),
    ]
    # Results without a time come last.
    rows = []
    for result in sorted(results, key=lambda r: r.median or float('inf')):
        row = [result.candidate.label, format_number(result.median, 1e-3)]
        row.append(format_number(min(result.seconds, default=None), 1e-3))
        for median in fastest:
            ratio = None
            if median and result.median:
                ratio = median / result.median
            row.append(format_number(ratio, digits=2))
        rows.append([*row, *_format_memory(result)])
    return format_table((*columns, 'saved MiB', 'peak MiB'), rows)


def format_scaling(results: Sequence[Result], axis: str) -> str:
    """Markdown: a row for each candidate and value; then the slopes of the logarithms."""
    rows, slopes = [], []
    for label, same in group_by_candidate(results).items():
        for result in same:
            x = AXES[axis].read(result.setup)
            median = format_number(result.median, 1e-3)
            rows.append([label, str(x), median, *_format_memory(result)])
        times, peaks = read_points(same, axis)
        time_slope = format_number(fit_slope(times), digits=2)
        peak_slope = format_number(fit_slope(peaks), digits=2)
        slopes.append(f'- {label}: slope of time {time_slope}, of peak memory {peak_slope}')
    columns = ('candidate', AXES[axis].label, 'median ms', 'saved MiB', 'peak MiB')
    return '\n'.join([format_table(columns, rows), '', *slopes])


def make_title(results: Sequence[Result], axis: str | None = None) -> str:
    """What was measured where, in one line."""
    setup = results[0].setup
    machine = next((result.machine for result in results if result.machine), 'nothing measured')
    facts = [setup.mode, str(setup.arch), 'x'.join(map(str, setup.shape)), setup.dtype, machine]
    if axis:
        facts.append(f'along {axis}')
    runs = max(len(result.seconds) for result in results)
    return ', '.join([*facts, f'medians of {runs} runs'])


def _find_least_median(results: Sequence[Result]) -> float | None:
    return min((result.median for result in results if result.median), default=None)


def _format_memory(result: Result) -> list[str]:
    return [format_number(result.saved_bytes, MIB), format_number(result.peak_bytes, MIB)]
