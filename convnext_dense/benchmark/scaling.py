"""How time and memory grow with the image, the batch, the width and the depth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from convnext_dense.benchmark.compare import Log, Result, measure
from convnext_dense.benchmark.memory import MIB
from convnext_dense.benchmark.plan import Candidate, Setup
from convnext_dense.variants import get_variant

Points = list[tuple[float, float]]


def _with_side(setup: Setup, side: float) -> Setup:
    return replace(setup, shape=(*setup.shape[:2], int(side), int(side)))


def _with_batch(setup: Setup, batch: float) -> Setup:
    return replace(setup, shape=(int(batch), *setup.shape[1:]))


def _with_width(setup: Setup, factor: float) -> Setup:
    variant = get_variant(setup.arch)
    dims = [round(dim * factor) for dim in variant.dims]
    return replace(setup, arch=dict(depths=variant.depths, dims=dims, use_grn=variant.use_grn))


def _with_depth(setup: Setup, factor: float) -> Setup:
    variant = get_variant(setup.arch)
    depths = [max(round(depth * factor), 1) for depth in variant.depths]
    return replace(setup, arch=dict(depths=depths, dims=variant.dims, use_grn=variant.use_grn))


class Axis(NamedTuple):
    """One thing that grows.

    ``change(setup, value)`` gives the setup of a value, and ``read(setup)`` the number that time
    and memory are drawn against.
    """

    label: str
    values: tuple[float, ...]
    change: Callable[[Setup, float], Setup]
    read: Callable[[Setup], float]


# fmt: off
AXES = {
    'size': Axis('pixels of the image', (256, 512, 1024, 2048), _with_side,
                 lambda setup: setup.shape[2] * setup.shape[3]),
    'batch': Axis('images in the batch', (1, 2, 4, 8, 16, 32, 64), _with_batch,
                  lambda setup: setup.shape[0]),
    'width': Axis('channels of the first stage', (0.5, 1, 1.5, 2, 3), _with_width,
                  lambda setup: get_variant(setup.arch).dims[0]),
    'depth': Axis('blocks', (1 / 3, 1, 2, 3), _with_depth,
                  lambda setup: sum(get_variant(setup.arch).depths)),
}
# fmt: on


def scale(
    candidates: Sequence[Candidate],
    setup: Setup,
    axis: str,
    values: Sequence[float] = (),
    rounds: int = 3,
    seconds: float = float('inf'),
    log: Log = lambda text: None,
) -> list[Result]:
    """Results of all candidates at each value of the axis; ``rounds`` and ``seconds`` are of each.

    A candidate that fails, most often out of memory, is not tried at the following values. Values
    are sides in pixels, images, or factors on the arch's widths or depths; an axis has defaults.
    """
    results: list[Result] = []
    remaining = list(candidates)  # those that did not fail
    for value in values or AXES[axis].values:
        log(f'{axis} {value:g}')
        here = measure(remaining, AXES[axis].change(setup, value), rounds, seconds, log)
        results += here
        remaining = [result.candidate for result in here if not result.error]
    return results


def group_by_candidate(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Label of a candidate -> its results in their order."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        groups.setdefault(result.candidate.label, []).append(result)
    return groups


def read_points(results: Sequence[Result], axis: str) -> tuple[Points, Points]:
    """(x, ms) and (x, peak MiB) of those results that have them."""
    times, peaks = [], []
    for result in results:
        x = AXES[axis].read(result.setup)
        if result.median:
            times.append((x, 1e3 * result.median))
        if result.peak_bytes:
            peaks.append((x, result.peak_bytes / MIB))
    return times, peaks


def fit_slope(points: Points) -> float | None:
    """Slope of log(y) against log(x): 1 is linear growth. None for fewer than two different x."""
    xs = [math.log(x) for x, _ in points]
    ys = [math.log(y) for _, y in points]
    try:
        return statistics.linear_regression(xs, ys).slope
    except statistics.StatisticsError:
        return None
