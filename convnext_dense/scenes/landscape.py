"""The ground and what lies behind: sky, mountains, sea, buildings, and surfaces: grass, road, sidewalk, sand."""

from __future__ import annotations

import numpy as np

from convnext_dense.scenes import shapes
from convnext_dense.scenes.canvas import Canvas
from convnext_dense.scenes.textures import Texture, bricks, gradient, hsv, striped, tiled


def draw_sky(canvas: Canvas, top, bottom, horizon: float) -> None:
    """Sky over the whole frame, with clouds in some pictures."""
    sky = gradient(top, bottom, 0, horizon)
    if canvas.rng.random() < 0.7:
        cloud = np.asarray(bottom) * 0.35 + 255 * canvas.rng.uniform(0.5, 0.62)
        sky = canvas.noise.mixed(sky, cloud, 'cloud', canvas.rng.uniform(0.05, 0.55), 0.6)
    canvas.begin('sky')
    canvas.mask(np.ones(canvas.shape, dtype=bool), sky)


def draw_mountain(canvas: Canvas, horizon: float, height: float, distance: float) -> None:
    """A range whose highest top is ``height`` pixels over the horizon; far ranges (distance 0-1) fade into the haze."""
    rng, noise = canvas.rng, canvas.noise
    heights = height * (0.35 + 0.65 * shapes.ridge(rng, canvas.shape[1], rng.uniform(0.45, 0.65)))
    _, y = shapes.centres((slice(0, canvas.shape[0]), slice(0, canvas.shape[1])))
    rock = hsv(rng.uniform(0.5, 0.78), rng.uniform(0.08, 0.35), rng.uniform(0.35, 0.6))
    colour = noise.mixed(rock * 1.2, rock * 0.6, 'crag', softness=0.8)
    canvas.begin('mountain')
    canvas.mask(
        y > horizon - heights,
        noise.grainy(
            lambda px, py: colour(px, py) * (1 - distance) + canvas.haze * distance * 0.8, fine=0.08
        ),
    )
    if rng.random() < 0.4:
        snow = y > horizon - heights
        snow &= y < horizon - heights.max() * rng.uniform(0.55, 0.75) + 6 * noise.fields['clump']
        canvas.mask(snow, noise.grainy(hsv(0.6, 0.06, 0.93), crag=0.12, fine=0.04))


def draw_sea(canvas: Canvas, points, top, horizon: float) -> None:
    """Water in the sky's colours, darker, with waves that are longer and flatter than any other texture."""
    rng = canvas.rng
    deep = np.asarray(top) * rng.uniform(0.35, 0.75) * np.array([0.8, 1, 1.05]) + hsv(
        rng.uniform(0.42, 0.6), 0.5, 0.18
    )
    water = canvas.noise.mixed(
        gradient(deep * 1.25, deep * 0.85, horizon, canvas.shape[0]),
        deep * 0.55 + 105,
        'ripple',
        rng.uniform(0.35, 0.6),
        0.35,
    )
    canvas.begin('sea')
    canvas.polygon(points, canvas.noise.grainy(water, swell=0.18, ripple=0.12))


def grass(canvas: Canvas) -> Texture:
    rng = canvas.rng
    first = hsv(rng.uniform(0.15, 0.3), rng.uniform(0.4, 0.7), rng.uniform(0.45, 0.7))
    second = first * rng.uniform(0.7, 0.9) + np.array([rng.uniform(0, 30), rng.uniform(0, 15), 0])
    return canvas.noise.grainy(
        canvas.noise.mixed(first, second, 'clump', softness=1.0), blade=0.32, fine=0.12
    )


def road(canvas: Canvas) -> Texture:
    rng = canvas.rng
    asphalt = hsv(rng.uniform(0, 1), rng.uniform(0, 0.1), rng.uniform(0.25, 0.45))
    return canvas.noise.grainy(asphalt, fine=0.1, cloud=0.1)


def sand(canvas: Canvas) -> Texture:
    rng = canvas.rng
    colour = hsv(rng.uniform(0.08, 0.13), rng.uniform(0.22, 0.45), rng.uniform(0.7, 0.9))
    return canvas.noise.grainy(colour, swell=0.07, clump=0.07, fine=0.06)


def sidewalk(canvas: Canvas, horizon: float) -> Texture:
    rng = canvas.rng
    hue = rng.uniform(0, 0.15)
    slab, vanishing = (
        hsv(hue, rng.uniform(0, 0.18), rng.uniform(0.58, 0.8)),
        canvas.shape[1] * rng.uniform(0.2, 0.8),
    )
    tiles = tiled(slab, slab * rng.uniform(0.55, 0.75), horizon, vanishing, rng.uniform(0.16, 0.3))
    return canvas.noise.grainy(tiles, fine=0.05, clump=0.05)


def surface(canvas: Canvas, name: str, horizon: float) -> Texture:
    """The texture of a ground class: grass, road, sand or sidewalk."""
    if name == 'sidewalk':
        return sidewalk(canvas, horizon)
    return {'grass': grass, 'road': road, 'sand': sand}[name](canvas)


def _wall(canvas: Canvas) -> tuple[np.ndarray, Texture]:
    """Colour of a wall, and its surface: plaster, bricks or courses of cladding."""
    rng = canvas.rng
    hue = rng.uniform(0, 1) if rng.random() < 0.3 else rng.uniform(0.0, 0.13)
    colour = hsv(hue, rng.uniform(0.03, 0.5), rng.uniform(0.42, 0.92))
    kind = rng.integers(3)
    if kind == 1:
        return colour, bricks(colour, colour * 0.75)
    return colour, striped(
        colour, colour * 0.84, 6, 0.18, 'y'
    ) if kind == 2 else canvas.noise.grainy(colour, fine=0.04)


def _draw_windows(
    canvas: Canvas, x0: float, top: float, x1: float, base: float, cell: float, night: bool
) -> None:
    """Rows of windows; at night some of them are lit."""
    rng = canvas.rng
    columns, rows = max(int((x1 - x0) / cell), 1), max(int((base - top) / (cell * 1.25)), 1)
    width, height = (x1 - x0) / columns, (base - top) / rows
    glass, frame = (
        hsv(rng.uniform(0.5, 0.65), rng.uniform(0.1, 0.4), rng.uniform(0.15, 0.55)),
        hsv(0, 0, rng.uniform(0.2, 1)),
    )
    narrow, tall = rng.uniform(0.45, 0.7), rng.uniform(0.45, 0.65)
    for row in range(rows):
        for column in range(columns):
            left, upper = (
                x0 + width * (column + (1 - narrow) / 2),
                top + height * (row + (1 - tall) / 2),
            )
            right, lower = left + width * narrow, upper + height * tall
            lit = night and rng.random() < 0.45
            canvas.box(left - 1, upper - 1, right + 1, lower + 1, frame)
            canvas.box(
                left,
                upper,
                right,
                lower,
                np.array([330.0, 270.0, 150.0]) if lit else glass * rng.uniform(0.8, 1.3),
            )


def draw_building(
    canvas: Canvas, x0: float, x1: float, top: float, base: float, floor: float, night: bool
) -> None:
    """A house or block that stands on the line ``base``; ``floor`` is the height of a storey in pixels."""
    rng = canvas.rng
    colour, wall = _wall(canvas)
    canvas.begin('building')
    canvas.box(x0, top, x1, base, wall)
    shade = (x1 - x0) * rng.uniform(0.1, 0.25)
    edge = (x0, x0 + shade) if canvas.sun > 0 else (x1 - shade, x1)
    canvas.box(edge[0], top, edge[1], base, lambda x, y: wall(x, y) * 0.68)
    _draw_windows(
        canvas,
        x0 + 2,
        top + floor * 0.25,
        x1 - 2,
        base - floor * 0.7,
        floor * rng.uniform(0.7, 1.0),
        night,
    )
    door = x0 + (x1 - x0) * rng.uniform(0.2, 0.7)
    canvas.box(
        door,
        base - floor * 0.62,
        door + floor * 0.38,
        base,
        hsv(rng.uniform(0, 1), 0.5, rng.uniform(0.2, 0.6)),
    )
    roof = hsv(rng.uniform(-0.03, 0.08), rng.uniform(0.1, 0.6), rng.uniform(0.25, 0.6))
    if (base - top) < 3.2 * floor and rng.random() < 0.75:
        overhang, rise = floor * 0.2, floor * rng.uniform(0.5, 1.1)
        inset = (x1 - x0) * rng.uniform(0.1, 0.5)
        canvas.polygon(
            [
                (x0 - overhang, top),
                (x0 + inset, top - rise),
                (x1 - inset, top - rise),
                (x1 + overhang, top),
            ],
            canvas.noise.grainy(striped(roof, roof * 0.8, 4, 0.3, 'y'), fine=0.06),
        )
    else:
        canvas.box(x0 - 1, top - floor * 0.12, x1 + 1, top + 1, colour * 0.6)
