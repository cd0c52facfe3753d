"""Sky, mountains, sea, and the surfaces of the ground: grass, road, sidewalk, sand."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from convnext_dense.scenes import shapes
from convnext_dense.scenes.canvas import Canvas
from convnext_dense.scenes.textures import Texture, gradient, hsv, tiled


def draw_sky(canvas: Canvas, top: ArrayLike, bottom: ArrayLike, horizon: float) -> None:
    """Sky over the whole picture, with clouds in most of them."""
    rng = canvas.rng
    sky = gradient(top, bottom, 0, horizon)
    if rng.random() < 0.7:
        cloud = np.asarray(bottom) * 0.35 + 255 * rng.uniform(0.5, 0.62)
        sky = canvas.noise.mixed(sky, cloud, 'cloud', rng.uniform(0.05, 0.55), 0.6)
    canvas.begin('sky')
    canvas.mask(np.ones(canvas.shape, dtype=bool), sky)


def draw_mountain(canvas: Canvas, horizon: float, height: float, distance: float) -> None:
    """Draw a range of mountains, sometimes with snow.

    Args:
        canvas: what to draw on.
        horizon: row of the horizon.
        height: of the highest top above the horizon, in pixels.
        distance: 0-1; far ranges fade into the haze.
    """
    rng = canvas.rng
    noise = canvas.noise
    skyline = shapes.ridge(rng, canvas.shape[1], rng.uniform(0.45, 0.65))
    heights = height * (0.35 + 0.65 * skyline)  # (W,)
    _, y = shapes.centres((slice(0, canvas.shape[0]), slice(0, canvas.shape[1])))  # (H, 1)
    rock = hsv(rng.uniform(0.5, 0.78), rng.uniform(0.08, 0.35), rng.uniform(0.35, 0.6))
    crags = noise.mixed(rock * 1.2, rock * 0.6, 'crag', softness=0.8)

    def hazy_rock(px: np.ndarray, py: np.ndarray) -> np.ndarray:
        return crags(px, py) * (1 - distance) + canvas.haze * distance * 0.8

    canvas.begin('mountain')
    mountain = y > horizon - heights
    canvas.mask(mountain, noise.grainy(hazy_rock, fine=0.08))
    if rng.random() < 0.4:
        # Snow above a line that the noise makes uneven.
        snow_line = horizon - heights.max() * rng.uniform(0.55, 0.75) + 6 * noise.fields['clump']
        snow = noise.grainy(hsv(0.6, 0.06, 0.93), crag=0.12, fine=0.04)
        canvas.mask(mountain & (y < snow_line), snow)


def draw_sea(canvas: Canvas, points: ArrayLike, top: ArrayLike, horizon: float) -> None:
    """Draw water with waves that are longer and flatter than any other texture.

    Args:
        canvas: what to draw on.
        points: (N, 2) outline.
        top: colour of the sky at its top; water is a darker shade of it.
        horizon: row of the horizon.
    """
    rng = canvas.rng
    reflection = np.asarray(top) * rng.uniform(0.35, 0.75) * np.array([0.8, 1, 1.05])
    deep = reflection + hsv(rng.uniform(0.42, 0.6), 0.5, 0.18)
    surface = gradient(deep * 1.25, deep * 0.85, horizon, canvas.shape[0])
    crest = deep * 0.55 + 105
    water = canvas.noise.mixed(surface, crest, 'ripple', rng.uniform(0.35, 0.6), 0.35)
    canvas.begin('sea')
    canvas.polygon(points, canvas.noise.grainy(water, swell=0.18, ripple=0.12))


def _make_grass(canvas: Canvas) -> Texture:
    rng = canvas.rng
    first = hsv(rng.uniform(0.15, 0.3), rng.uniform(0.4, 0.7), rng.uniform(0.45, 0.7))
    darkness = rng.uniform(0.7, 0.9)
    yellow = np.array([rng.uniform(0, 30), rng.uniform(0, 15), 0])
    second = first * darkness + yellow
    lawn = canvas.noise.mixed(first, second, 'clump', softness=1.0)
    return canvas.noise.grainy(lawn, blade=0.32, fine=0.12)


def _make_road(canvas: Canvas) -> Texture:
    rng = canvas.rng
    asphalt = hsv(rng.uniform(0, 1), rng.uniform(0, 0.1), rng.uniform(0.25, 0.45))
    return canvas.noise.grainy(asphalt, fine=0.1, cloud=0.1)


def _make_sand(canvas: Canvas) -> Texture:
    rng = canvas.rng
    colour = hsv(rng.uniform(0.08, 0.13), rng.uniform(0.22, 0.45), rng.uniform(0.7, 0.9))
    return canvas.noise.grainy(colour, swell=0.07, clump=0.07, fine=0.06)


def _make_sidewalk(canvas: Canvas, horizon: float) -> Texture:
    rng = canvas.rng
    hue = rng.uniform(0, 0.15)
    slab = hsv(hue, rng.uniform(0, 0.18), rng.uniform(0.58, 0.8))
    vanishing_x = canvas.shape[1] * rng.uniform(0.2, 0.8)
    joint = slab * rng.uniform(0.55, 0.75)
    tiles = tiled(slab, joint, horizon, vanishing_x, rng.uniform(0.16, 0.3))
    return canvas.noise.grainy(tiles, fine=0.05, clump=0.05)


def make_surface(canvas: Canvas, name: str, horizon: float) -> Texture:
    """The texture of a ground class: 'grass', 'road', 'sand' or 'sidewalk'."""
    if name == 'sidewalk':
        return _make_sidewalk(canvas, horizon)
    makers = {'grass': _make_grass, 'road': _make_road, 'sand': _make_sand}
    return makers[name](canvas)
