"""Four kinds of place: what stands in the background, and how the ground is divided.

A place is drawn by ``draw(canvas, ground, night)``; things are put on its ground afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from convnext_dense.scenes import landscape
from convnext_dense.scenes.buildings import draw_building
from convnext_dense.scenes.canvas import Canvas
from convnext_dense.scenes.textures import Texture

Point = tuple[float, float]


@dataclass
class Ground:
    """The ground from the horizon to the lower edge, drawn in bands from far to near.

    Attributes:
        canvas: what to draw on.
        horizon: row of the horizon.
    """

    canvas: Canvas
    horizon: float

    def line(self, y: float, slope: float) -> tuple[Point, Point]:
        """Left and right end of a line across the picture that has height ``y`` in the middle."""
        width = self.canvas.shape[1]
        left = (-1, y - slope * width / 2)
        right = (width + 1, y + slope * width / 2)
        return left, right

    def band(self, name: str, y: float, slope: float = 0.0) -> None:
        """Cover everything below a line with a ground class."""
        bottom = self.canvas.shape[0] + 1
        texture = landscape.make_surface(self.canvas, name, self.horizon)
        self.canvas.begin(name)
        left, right = self.line(y, slope)
        self.canvas.polygon([left, right, (right[0], bottom), (left[0], bottom)], texture)

    def strip(
        self, name: str, texture: Texture, near: tuple[Point, Point], far_half: float, far_x: float
    ) -> None:
        """Cover a strip from the lower edge to the horizon with a ground class.

        Args:
            name: of the class.
            texture: of its surface.
            near: left and right end of its near side, (x, y).
            far_half: half of its width at the far side.
            far_x: column of the middle of its far side.
        """
        far_y = self.horizon + 2
        left, right = near
        self.canvas.begin(name)
        far_left = (far_x - far_half, far_y)
        far_right = (far_x + far_half, far_y)
        self.canvas.polygon([far_left, far_right, right, left], texture)

    def dashes(self, start: ArrayLike, end: ArrayLike, width: float) -> None:
        """Draw lane marks between two points (x, y).

        Args:
            start: the far end.
            end: the near end.
            width: of the marks at the near end in pixels; elsewhere in proportion to the depth.
        """
        start = np.asarray(start, dtype=float)
        end = np.asarray(end, dtype=float)
        along = end - start
        brightness = self.canvas.rng.uniform(185, 235)
        paint = self.canvas.noise.grainy(np.full(3, brightness), fine=0.08)
        is_flat = abs(along[1]) < abs(along[0])
        across = np.array([0, 1]) if is_flat else np.array([1, 0])
        for share in np.arange(0.06, 1, 0.18):
            first = start + along * share
            last = start + along * (share + 0.09)
            first_half = across * self._half_width(first[1], end[1], width)
            last_half = across * self._half_width(last[1], end[1], width)
            outline = [first - first_half, last - last_half, last + last_half, first + first_half]
            self.canvas.polygon(outline, paint)

    def _half_width(self, y: float, end_y: float, width: float) -> float:
        """Half of the width in row y of a mark that is ``width`` wide in row ``end_y``."""
        scaled = width * (y - self.horizon) / max(end_y - self.horizon, 1)
        return max(scaled, 1.2) / 2


def _draw_buildings(canvas: Canvas, base: float, floor: float, night: bool, gaps: float) -> None:
    """A row of buildings of one to four storeys.

    Args:
        canvas: what to draw on.
        base: row of the line that they stand on.
        floor: height of a storey in pixels.
        night: whether some windows are lit.
        gaps: share of the places that stay empty.
    """
    rng = canvas.rng
    x = rng.uniform(-30, 20)
    while x < canvas.shape[1]:
        wide = floor * rng.uniform(1.8, 4.2)
        if rng.random() > gaps:
            top = base - floor * rng.uniform(1.3, 4.5)
            draw_building(canvas, x, x + wide, top, base, floor, night)
        x += wide * rng.uniform(0.98, 1.25)


def _draw_street(canvas: Canvas, ground: Ground, night: bool) -> None:
    """A road seen from across: buildings, sidewalk, road, and a sidewalk or lawn in front."""
    rng = canvas.rng
    height, width = canvas.shape
    slope = rng.uniform(-0.07, 0.07)
    far_walk = ground.horizon + height * rng.uniform(0.04, 0.08)
    far_ground = str(rng.choice(['sidewalk', 'grass']))
    base = far_walk + abs(slope) * width / 2 + 1
    _draw_buildings(canvas, base, height * rng.uniform(0.1, 0.15), night, gaps=0.15)
    ground.band(far_ground, far_walk, slope)

    road = far_walk + height * rng.uniform(0.08, 0.15)
    ground.band('road', road, slope)
    depth = height * rng.uniform(0.18, 0.26)
    left, right = ground.line(road + depth / 2, slope)
    ground.dashes(left, right, height * 0.012)

    # A lawn in front only if there is none behind the road.
    near_ground = 'sidewalk' if far_ground == 'grass' or rng.random() < 0.5 else 'grass'
    ground.band(near_ground, road + depth, slope * 0.5)


def _draw_avenue(canvas: Canvas, ground: Ground, night: bool) -> None:
    """A road that leads away from the viewer, with sidewalks, and lawns or buildings beyond."""
    rng = canvas.rng
    height, width = canvas.shape
    vanishing_x = width * rng.uniform(0.35, 0.65)
    half_road = width * rng.uniform(0.3, 0.5)
    middle = width * rng.uniform(0.35, 0.65)
    floor = height * rng.uniform(0.08, 0.12)
    _draw_buildings(canvas, ground.horizon + 3, floor, night, gaps=0.45)
    ground.band('grass', ground.horizon + 2)

    # The sidewalk first, then the road in the middle of it.
    far = width * 0.02
    sidewalk = landscape.make_surface(canvas, 'sidewalk', ground.horizon)
    half_walk = half_road + width * rng.uniform(0.22, 0.34)
    near = (middle - half_walk, height + 1), (middle + half_walk, height + 1)
    ground.strip('sidewalk', sidewalk, near, far * 2, vanishing_x)
    asphalt = landscape.make_surface(canvas, 'road', ground.horizon)
    near = (middle - half_road, height + 1), (middle + half_road, height + 1)
    ground.strip('road', asphalt, near, far, vanishing_x)
    ground.dashes((vanishing_x, ground.horizon + 2), (middle, height), width * 0.03)


def _draw_country(canvas: Canvas, ground: Ground, night: bool) -> None:
    """Mountains and meadows with a road that bends through them, and a house or two."""
    rng = canvas.rng
    height, width = canvas.shape
    mountain_height = height * rng.uniform(0.15, 0.34)
    landscape.draw_mountain(canvas, ground.horizon + 2, mountain_height, rng.uniform(0, 0.4))
    if rng.random() < 0.5:
        floor = height * rng.uniform(0.07, 0.1)
        _draw_buildings(canvas, ground.horizon + 4, floor, night, gaps=0.6)
    ground.band('grass', ground.horizon)

    # The middle line of the road from the horizon (share 0) to the lower edge (share 1).
    y = ground.horizon + np.linspace(0, 1, 14) ** 1.6 * (height - ground.horizon)
    share = (y - ground.horizon) / (height - ground.horizon)
    bend = rng.uniform(0.1, 0.3) * width
    turn = rng.uniform(0, 6)
    start = rng.uniform(0.3, 0.7)
    drift = rng.uniform(0.2, 0.8) - 0.5
    x = width * (start + drift * share) + bend * np.sin(turn + 4 * share)
    half = width * (0.01 + rng.uniform(0.24, 0.34) * share)

    asphalt = landscape.make_surface(canvas, 'road', ground.horizon)
    canvas.begin('road')
    left = np.stack([x - half, y], 1)
    right = np.stack([x + half, y], 1)
    canvas.polygon(np.concatenate([left, right[::-1]]), asphalt)


def _draw_coast(canvas: Canvas, ground: Ground, night: bool) -> None:
    """Sea and beach, sometimes with a headland, and mostly a promenade or lawn in front."""
    rng = canvas.rng
    height, width = canvas.shape
    horizon = ground.horizon
    if rng.random() < 0.6:
        mountain_height = height * rng.uniform(0.1, 0.25)
        landscape.draw_mountain(canvas, horizon + 1, mountain_height, rng.uniform(0.2, 0.6))
    sea = [(-1, horizon), (width + 1, horizon), (width + 1, height), (-1, height)]
    sky_colour = canvas.image[0].mean(0)
    landscape.draw_sea(canvas, sea, sky_colour, horizon)
    slope = rng.uniform(-0.16, 0.16)
    beach = horizon + height * rng.uniform(0.14, 0.23)
    ground.band('sand', beach, slope)
    if rng.random() < 0.75:
        name = str(rng.choice(['sidewalk', 'grass']))
        ground.band(name, beach + height * rng.uniform(0.15, 0.24), slope * 0.5)


PLACES = {
    'street': _draw_street,
    'avenue': _draw_avenue,
    'country': _draw_country,
    'coast': _draw_coast,
}
