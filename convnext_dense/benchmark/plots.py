"""Pictures of results: bars of one comparison, and curves of how time and memory grow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from convnext_dense.benchmark.report import MIB, make_title
from convnext_dense.benchmark.compare import Result
from convnext_dense.benchmark.scaling import AXES, Curve

_OURS, _PEER = '#1b7f5c', '#9aa5b1'


def draw_bars(results: Sequence[Result], path: Path) -> None:
    """PNG: median time of each candidate, the fastest on top, its fastest run as a tick; ours in a colour."""
    done = sorted((r for r in results if r.seconds), key=lambda r: -r.median)
    if not done:
        return
    figure, axes = _make_figure(1, 9, 1.2 + 0.32 * len(done))
    colours = [_PEER if r.candidate.is_peer else _OURS for r in done]
    bars = axes[0].barh(
        [r.candidate.label for r in done], [1e3 * r.median for r in done], color=colours
    )
    axes[0].bar_label(bars, fmt='%.4g', padding=3, fontsize=8)
    axes[0].plot([1e3 * min(r.seconds) for r in done], range(len(done)), '|', color='black')
    axes[0].set_xlabel('ms: bar = median, tick = fastest run')
    axes[0].set_xlim(0, 1.12e3 * done[0].median)
    axes[0].spines[['top', 'right']].set_visible(False)
    figure.suptitle(make_title(results), fontsize=9)
    _save(figure, path)


def draw_curves(curves: Sequence[Curve], path: Path) -> None:
    """PNG: time and peak memory against the axis, both logarithmic, with dotted lines of slope 1 (and 2, for width)."""
    figure, axes = _make_figure(2, 11, 4.5)
    parts = (
        ('time of a step, ms', lambda r: r.seconds and 1e3 * r.median),
        ('peak memory over base, MiB', lambda r: r.peak_bytes and r.peak_bytes / MIB),
    )
    for ax, (label, read) in zip(axes, parts):
        drawn = []
        for curve in curves:
            points = [(x, read(result)) for x, result in curve.points if read(result)]
            if points:
                ax.plot(*zip(*points), 'o-', label=curve.candidate.label, markersize=4)
                drawn += points
        _draw_slopes(ax, drawn, curves[0].axis)
        ax.set(xscale='log', yscale='log', xlabel=AXES[curves[0].axis].label, ylabel=label)
        ax.grid(which='both', alpha=0.2)
    axes[0].legend(fontsize=8)
    figure.suptitle(curves[0].title, fontsize=10)
    _save(figure, path)


def _draw_slopes(ax, points: list[tuple[float, float]], axis: str) -> None:
    if not points:
        return
    left, right = (
        min(points)[0],
        max(points),
    )  # through the largest: at the small end fixed costs show
    for slope in (1, 2) if axis == 'width' else (1,):
        low = right[1] * (left / right[0]) ** slope
        ax.plot([left, right[0]], [low, right[1]], ':', color='black', linewidth=1)
        ax.annotate(
            f'slope {slope}',
            (math.sqrt(left * right[0]), math.sqrt(low * right[1])),
            fontsize=8,
            xytext=(4, -10),
            textcoords='offset points',
        )


def _make_figure(columns: int, width: float, height: float):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout='constrained')
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _save(figure, path: Path) -> None:
    figure.savefig(path, dpi=120)
