"""Pictures of results: bars of a comparison, and curves of how time and memory grow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convnext_dense.benchmark.compare import Result
from convnext_dense.benchmark.scaling import AXES, group_by_candidate, read_points

_OUR_COLOUR = '#1b7f5c'
_PEER_COLOUR = '#9aa5b1'


def draw_bars(results: Sequence[Result], title: str, path: Path) -> None:
    """PNG: a bar for each median, the fastest on top, with a tick at the fastest run."""
    from matplotlib.figure import Figure

    measured = [result for result in results if result.median]
    measured.sort(key=lambda result: result.median or 0)
    figure = Figure(figsize=(9, 1.2 + 0.32 * len(measured)), layout='constrained')
    axes = figure.subplots()
    for result in measured:
        colour = _PEER_COLOUR if result.candidate.is_peer else _OUR_COLOUR
        label = result.candidate.label
        bar = axes.barh(label, 1e3 * (result.median or 0), color=colour)
        axes.bar_label(bar, fmt='%.4g', padding=3, fontsize=8)
        axes.plot(1e3 * min(result.seconds), label, '|', color='black')
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel('ms: bar = median, tick = fastest run')
    axes.spines[['top', 'right']].set_visible(False)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=120)


def draw_curves(results: Sequence[Result], axis: str, title: str, path: Path) -> None:
    """PNG: time and peak memory against the axis, both logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout='constrained')
    both_axes = figure.subplots(1, 2)
    for label, same in group_by_candidate(results).items():
        for axes, points in zip(both_axes, read_points(same, axis), strict=True):
            xs, ys = [x for x, _ in points], [y for _, y in points]
            axes.plot(xs, ys, 'o-', label=label, markersize=4)
    for axes, label in zip(both_axes, ('time of a step, ms', 'peak memory, MiB'), strict=True):
        axes.set(xscale='log', yscale='log', xlabel=AXES[axis].label, ylabel=label)
        axes.grid(which='both', alpha=0.2)
    both_axes[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=120)
