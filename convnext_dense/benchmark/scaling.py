"""How time and memory grow with the image, the batch, the width and the depth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from convnext_dense.apis.config import ConfigError
from convnext_dense.benchmark.plan import Candidate, Setup
from convnext_dense.benchmark.report import MIB, format_table
from convnext_dense.benchmark.compare import Result, measure
from convnext_dense.variants import get_variant


class Axis(NamedTuple):
    """``make(setup, value)`` gives the setup of a value and the number that it is drawn against."""

    label: str
    least: float
    values: tuple[float, ...]
    make: Callable[[Setup, float], tuple[Setup, float]]


@dataclass
class Curve:
    candidate: Candidate
    axis: str
    title: str
    points: list[tuple[float, Result]] = field(default_factory=list)

    def slope(self, read: Callable[[Result], float | None]) -> float | None:
        """Least-squares slope of log(what ``read`` gives) against log(x): 1 is linear. None for less than two x."""
        points = [
            (math.log(x), math.log(read(result))) for x, result in self.points if read(result)
        ]
        if len(points) < 2:
            return None
        mean_x, mean_y = (sum(values) / len(points) for values in zip(*points))
        spread = sum((x - mean_x) ** 2 for x, _ in points)
        return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else None


def _resize(setup: Setup, side: float) -> tuple[Setup, float]:
    side = int(side)
    return replace(setup, shape=(*setup.shape[:2], side, side)), side * side


def _repeat(setup: Setup, batch: float) -> tuple[Setup, float]:
    return replace(setup, shape=(int(batch), *setup.shape[1:])), int(batch)


def _widen(setup: Setup, factor: float) -> tuple[Setup, float]:
    variant = get_variant(setup.arch)
    dims = [round(dim * factor) for dim in variant.dims]
    return replace(
        setup, arch=dict(depths=variant.depths, dims=dims, use_grn=variant.use_grn)
    ), dims[0]


def _deepen(setup: Setup, factor: float) -> tuple[Setup, float]:
    variant = get_variant(setup.arch)
    depths = [max(round(depth * factor), 1) for depth in variant.depths]
    return replace(
        setup, arch=dict(depths=depths, dims=variant.dims, use_grn=variant.use_grn)
    ), sum(depths)


AXES = {
    'size': Axis('pixels of the image', 32, (256, 512, 1024, 2048), _resize),
    'batch': Axis('images in the batch', 1, (1, 2, 4, 8, 16, 32, 64), _repeat),
    'width': Axis('channels of the first stage', 0.05, (0.5, 1, 1.5, 2, 3), _widen),
    'depth': Axis('blocks', 0.05, (1 / 3, 1, 2, 3), _deepen),
}


def check(axis: str | None, values: Sequence[float]) -> None:
    """Raise ConfigError where a value lies outside of its axis, or belongs to none."""
    if values and axis is None:
        raise ConfigError(f'--values are of an axis: add --scaling with one of {", ".join(AXES)}')
    for value in values:
        if not AXES[axis].least <= value < float('inf'):
            raise ConfigError(f'values of {axis!r} are {AXES[axis].least:g} or more; got {value:g}')
        if axis in ('size', 'batch') and value != int(value):
            raise ConfigError(f'values of {axis!r} are whole numbers; got {value:g}')


def scale(
    candidates: Sequence[Candidate],
    setup: Setup,
    axis: str,
    values: Sequence[float] = (),
    rounds: int = 3,
    seconds: float = float('inf'),
    log: Callable[[str], None] = lambda text: None,
) -> list[Curve]:
    """A curve for each candidate over ``values``, or the axis' own: sides in pixels, images, or factors on the arch's
    widths or depths. A candidate that fails, most often out of memory, is not tried at the values that follow.
    ``rounds`` and ``seconds`` are for each value."""
    curves = [
        Curve(
            candidate,
            axis,
            f'{setup.mode}, {setup.arch}, {"x".join(map(str, setup.shape))}, {setup.dtype}, '
            f'{setup.device}, along {axis}',
        )
        for candidate in candidates
    ]
    going = list(curves)
    for value in values or AXES[axis].values:
        here, x = AXES[axis].make(setup, value)
        log(f'{axis} {value:g}')
        for curve, result in zip(
            going, measure([c.candidate for c in going], here, rounds, seconds, log)
        ):
            curve.points.append((x, result))
        going = [curve for curve in going if not curve.points[-1][1].error]
    return curves


def format_curves(curves: Sequence[Curve]) -> str:
    """Markdown: a row for each candidate and value, then the slopes."""
    columns = ('candidate', AXES[curves[0].axis].label, 'median ms', 'saved MiB', 'peak MiB')
    rows, errors = [], []
    for curve in curves:
        for x, r in curve.points:
            values = [
                r.median and 1e3 * r.median,
                r.saved_bytes and r.saved_bytes / MIB,
                r.peak_bytes and r.peak_bytes / MIB,
            ]
            rows.append(
                (curve.candidate.label, str(x), *('-' if v is None else f'{v:.1f}' for v in values))
            )
            errors += (
                [f'- not complete: {curve.candidate.label} at {x}: {r.error}'] if r.error else []
            )
    slopes = []
    for curve in curves:
        pair = [curve.slope(lambda r: r.median), curve.slope(lambda r: r.peak_bytes)]
        texts = ['-' if slope is None else f'{slope:.2f}' for slope in pair]
        slopes.append(
            f'- {curve.candidate.label}: slope of time {texts[0]}, of peak memory {texts[1]}'
        )
    return '\n'.join([curves[0].title, '', format_table(columns, rows), '', *slopes, *errors, ''])
