"""Four kinds of place: what stands behind, and how the ground is divided. Things are put on it afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convnext_dense.scenes import landscape
from convnext_dense.scenes.buildings import draw_building
from convnext_dense.scenes.canvas import Canvas


@dataclass
class Ground:
    """Bands of ground from the horizon to the lower edge: names, and the line (height, slope) where each one starts."""

    canvas: Canvas
    horizon: float

    def line(self, y: float, slope: float) -> list[tuple[float, float]]:
        width = self.canvas.shape[1]
        return [(-1, y - slope * width / 2), (width + 1, y + slope * width / 2)]

    def band(self, name: str, y: float, slope: float = 0.0) -> None:
        """Cover everything under the line with a ground class."""
        height = self.canvas.shape[0]
        texture = landscape.make_surface(self.canvas, name, self.horizon)
        self.canvas.begin(name)
        left, right = self.line(y, slope)
        self.canvas.polygon([left, right, (right[0], height + 1), (left[0], height + 1)], texture)

    def dashes(self, start, end, width: float) -> None:
        """Lane marks from start to end (x, y); ``width`` in pixels at the end, in proportion to the depth elsewhere."""
        start, end = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
        paint = self.canvas.noise.grainy(np.full(3, self.canvas.rng.uniform(185, 235)), fine=0.08)
        for share in np.arange(0.06, 1, 0.18):
            a, b = start + (end - start) * share, start + (end - start) * (share + 0.09)
            half = [
                max(width * (p[1] - self.horizon) / max(end[1] - self.horizon, 1), 1.2) / 2
                for p in (a, b)
            ]
            flat = abs(end[1] - start[1]) < abs(end[0] - start[0])
            step = np.array([0, 1]) if flat else np.array([1, 0])
            self.canvas.polygon(
                [a - step * half[0], b - step * half[1], b + step * half[1], a + step * half[0]],
                paint,
            )


def _buildings(canvas: Canvas, base: float, floor: float, night: bool, gaps: float) -> None:
    """A row of buildings of one to six storeys that stands on the line ``base``; ``gaps`` is the share left open."""
    rng, x = canvas.rng, canvas.rng.uniform(-30, 20)
    while x < canvas.shape[1]:
        wide = floor * rng.uniform(1.8, 4.2)
        if rng.random() > gaps:
            draw_building(
                canvas, x, x + wide, base - floor * rng.uniform(1.3, 4.5), base, floor, night
            )
        x += wide * rng.uniform(0.98, 1.25)


def _street(canvas: Canvas, ground: Ground, night: bool) -> None:
    """A road seen from across: buildings, sidewalk, road, and a sidewalk or lawn in front."""
    rng, height = canvas.rng, canvas.shape[0]
    slope, y = rng.uniform(-0.07, 0.07), ground.horizon + height * rng.uniform(0.04, 0.08)
    back = rng.choice(['sidewalk', 'grass'])
    _buildings(
        canvas,
        y + abs(slope) * canvas.shape[1] / 2 + 1,
        height * rng.uniform(0.1, 0.15),
        night,
        0.15,
    )
    ground.band(str(back), y, slope)
    y += height * rng.uniform(0.08, 0.15)
    ground.band('road', y, slope)
    deep = height * rng.uniform(0.18, 0.26)
    left, right = ground.line(y + deep / 2, slope)
    ground.dashes(left, right, height * 0.012)
    ground.band(
        'sidewalk' if back == 'grass' or rng.random() < 0.5 else 'grass', y + deep, slope * 0.5
    )


def _avenue(canvas: Canvas, ground: Ground, night: bool) -> None:
    """A road that leads away from the viewer, with sidewalks along it and lawns or buildings beyond."""
    rng, (height, width) = canvas.rng, canvas.shape
    vanishing, near = width * rng.uniform(0.35, 0.65), width * rng.uniform(0.3, 0.5)
    middle = width * rng.uniform(0.35, 0.65)
    floor = height * rng.uniform(0.08, 0.12)
    _buildings(canvas, ground.horizon + 3, floor, night, 0.45)
    ground.band('grass', ground.horizon + 2)
    walk = landscape.make_surface(canvas, 'sidewalk', ground.horizon)
    walk_near, far = near + width * rng.uniform(0.22, 0.34), width * 0.02
    canvas.begin('sidewalk')
    canvas.polygon(
        [
            (vanishing - far * 2, ground.horizon + 2),
            (vanishing + far * 2, ground.horizon + 2),
            (middle + walk_near, height + 1),
            (middle - walk_near, height + 1),
        ],
        walk,
    )
    asphalt = landscape.make_surface(canvas, 'road', ground.horizon)
    canvas.begin('road')
    canvas.polygon(
        [
            (vanishing - far, ground.horizon + 2),
            (vanishing + far, ground.horizon + 2),
            (middle + near, height + 1),
            (middle - near, height + 1),
        ],
        asphalt,
    )
    ground.dashes((vanishing, ground.horizon + 2), (middle, height), width * 0.03)


def _country(canvas: Canvas, ground: Ground, night: bool) -> None:
    """Mountains and meadows with a road that bends through them, and a house or two."""
    rng, (height, width) = canvas.rng, canvas.shape
    landscape.draw_mountain(
        canvas, ground.horizon + 2, height * rng.uniform(0.15, 0.34), rng.uniform(0, 0.4)
    )
    if rng.random() < 0.5:
        _buildings(canvas, ground.horizon + 4, height * rng.uniform(0.07, 0.1), night, 0.6)
    ground.band('grass', ground.horizon)
    y = ground.horizon + np.linspace(0, 1, 14) ** 1.6 * (height - ground.horizon)
    share = (y - ground.horizon) / (height - ground.horizon)
    bend, turn = rng.uniform(0.1, 0.3) * width, rng.uniform(0, 6)
    x = width * (rng.uniform(0.3, 0.7) + (rng.uniform(0.2, 0.8) - 0.5) * share) + bend * np.sin(
        turn + 4 * share
    )
    half = width * (0.01 + rng.uniform(0.24, 0.34) * share)
    asphalt = landscape.make_surface(canvas, 'road', ground.horizon)
    canvas.begin('road')
    canvas.polygon(
        np.concatenate([np.stack([x - half, y], 1), np.stack([x + half, y], 1)[::-1]]), asphalt
    )


def _coast(canvas: Canvas, ground: Ground, night: bool) -> None:
    """Sea and beach, with a headland at times, and a promenade or lawn in front."""
    rng, (height, width) = canvas.rng, canvas.shape
    if rng.random() < 0.6:
        landscape.draw_mountain(
            canvas, ground.horizon + 1, height * rng.uniform(0.1, 0.25), rng.uniform(0.2, 0.6)
        )
    landscape.draw_sea(
        canvas,
        [(-1, ground.horizon), (width + 1, ground.horizon), (width + 1, height), (-1, height)],
        canvas.image[0].mean(0),
        ground.horizon,
    )
    slope = rng.uniform(-0.16, 0.16)
    y = ground.horizon + height * rng.uniform(0.14, 0.23)
    ground.band('sand', y, slope)
    if rng.random() < 0.75:
        ground.band(
            str(rng.choice(['sidewalk', 'grass'])),
            y + height * rng.uniform(0.15, 0.24),
            slope * 0.5,
        )


# Draws everything behind and under the things: (canvas, ground, night) -> None.
PLACES = {'street': _street, 'avenue': _avenue, 'country': _country, 'coast': _coast}
