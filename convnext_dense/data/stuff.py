"""The ground and what lies behind: sky, mountains, sea, buildings, and surfaces: grass, road, sidewalk, sand."""
from __future__ import annotations

import numpy as np

from convnext_dense.data import shapes
from convnext_dense.data.canvas import Canvas
from convnext_dense.data.textures import Texture, bricks, gradient, hsv, striped, tiled


def draw_sky(canvas: Canvas, top, bottom, horizon: float) -> None:
    """Sky over the whole frame, with clouds in some pictures."""
    sky = gradient(top, bottom, 0, horizon)
    if canvas.rng.random() < .7:
        cloud = np.asarray(bottom) * .35 + 255 * canvas.rng.uniform(.5, .62)
        sky = canvas.noise.mixed(sky, cloud, 'cloud', canvas.rng.uniform(.05, .55), .6)
    canvas.begin('sky')
    canvas.mask(np.ones(canvas.shape, dtype=bool), sky)


def draw_mountain(canvas: Canvas, horizon: float, height: float, distance: float) -> None:
    """A range whose highest top is ``height`` pixels over the horizon; far ranges (distance 0-1) fade into the haze."""
    rng, noise = canvas.rng, canvas.noise
    heights = height * (.35 + .65 * shapes.ridge(rng, canvas.shape[1], rng.uniform(.45, .65)))
    _, y = shapes.centres((slice(0, canvas.shape[0]), slice(0, canvas.shape[1])))
    rock = hsv(rng.uniform(.5, .78), rng.uniform(.08, .35), rng.uniform(.35, .6))
    colour = noise.mixed(rock * 1.2, rock * .6, 'crag', softness=.8)
    canvas.begin('mountain')
    canvas.mask(y > horizon - heights, noise.grainy(
        lambda px, py: colour(px, py) * (1 - distance) + canvas.haze * distance * .8, fine=.08))
    if rng.random() < .4:
        snow = y > horizon - heights
        snow &= y < horizon - heights.max() * rng.uniform(.55, .75) + 6 * noise.fields['clump']
        canvas.mask(snow, noise.grainy(hsv(.6, .06, .93), crag=.12, fine=.04))


def draw_sea(canvas: Canvas, points, top, horizon: float) -> None:
    """Water in the sky's colours, darker, with waves that are longer and flatter than any other texture."""
    rng = canvas.rng
    deep = np.asarray(top) * rng.uniform(.35, .75) * np.array([.8, 1, 1.05]) + hsv(rng.uniform(.42, .6), .5, .18)
    water = canvas.noise.mixed(gradient(deep * 1.25, deep * .85, horizon, canvas.shape[0]), deep * .55 + 105, 'ripple',
                               rng.uniform(.35, .6), .35)
    canvas.begin('sea')
    canvas.polygon(points, canvas.noise.grainy(water, swell=.18, ripple=.12))


def grass(canvas: Canvas) -> Texture:
    rng = canvas.rng
    first = hsv(rng.uniform(.15, .3), rng.uniform(.4, .7), rng.uniform(.45, .7))
    second = first * rng.uniform(.7, .9) + np.array([rng.uniform(0, 30), rng.uniform(0, 15), 0])
    return canvas.noise.grainy(canvas.noise.mixed(first, second, 'clump', softness=1.), blade=.32, fine=.12)


def road(canvas: Canvas) -> Texture:
    rng = canvas.rng
    asphalt = hsv(rng.uniform(0, 1), rng.uniform(0, .1), rng.uniform(.25, .45))
    return canvas.noise.grainy(asphalt, fine=.1, cloud=.1)


def sand(canvas: Canvas) -> Texture:
    rng = canvas.rng
    colour = hsv(rng.uniform(.08, .13), rng.uniform(.22, .45), rng.uniform(.7, .9))
    return canvas.noise.grainy(colour, swell=.07, clump=.07, fine=.06)


def sidewalk(canvas: Canvas, horizon: float) -> Texture:
    rng = canvas.rng
    hue = rng.uniform(0, .15)
    slab, vanishing = hsv(hue, rng.uniform(0, .18), rng.uniform(.58, .8)), canvas.shape[1] * rng.uniform(.2, .8)
    tiles = tiled(slab, slab * rng.uniform(.55, .75), horizon, vanishing, rng.uniform(.16, .3))
    return canvas.noise.grainy(tiles, fine=.05, clump=.05)


def surface(canvas: Canvas, name: str, horizon: float) -> Texture:
    """The texture of a ground class: grass, road, sand or sidewalk."""
    if name == 'sidewalk':
        return sidewalk(canvas, horizon)
    return {'grass': grass, 'road': road, 'sand': sand}[name](canvas)


def _wall(canvas: Canvas) -> tuple[np.ndarray, Texture]:
    """Colour of a wall, and its surface: plaster, bricks or courses of cladding."""
    rng = canvas.rng
    hue = rng.uniform(0, 1) if rng.random() < .3 else rng.uniform(.0, .13)
    colour = hsv(hue, rng.uniform(.03, .5), rng.uniform(.42, .92))
    kind = rng.integers(3)
    if kind == 1:
        return colour, bricks(colour, colour * .75)
    return colour, striped(colour, colour * .84, 6, .18, 'y') if kind == 2 else canvas.noise.grainy(colour, fine=.04)


def _draw_windows(canvas: Canvas, x0: float, top: float, x1: float, base: float, cell: float, night: bool) -> None:
    """Rows of windows; at night some of them are lit."""
    rng = canvas.rng
    columns, rows = max(int((x1 - x0) / cell), 1), max(int((base - top) / (cell * 1.25)), 1)
    width, height = (x1 - x0) / columns, (base - top) / rows
    glass, frame = hsv(rng.uniform(.5, .65), rng.uniform(.1, .4), rng.uniform(.15, .55)), hsv(0, 0, rng.uniform(.2, 1))
    narrow, tall = rng.uniform(.45, .7), rng.uniform(.45, .65)
    for row in range(rows):
        for column in range(columns):
            left, upper = x0 + width * (column + (1 - narrow) / 2), top + height * (row + (1 - tall) / 2)
            right, lower = left + width * narrow, upper + height * tall
            lit = night and rng.random() < .45
            canvas.box(left - 1, upper - 1, right + 1, lower + 1, frame)
            canvas.box(left, upper, right, lower, np.array([330., 270., 150.]) if lit else glass * rng.uniform(.8, 1.3))


def draw_building(canvas: Canvas, x0: float, x1: float, top: float, base: float, floor: float, night: bool) -> None:
    """A house or block that stands on the line ``base``; ``floor`` is the height of a storey in pixels."""
    rng = canvas.rng
    colour, wall = _wall(canvas)
    canvas.begin('building')
    canvas.box(x0, top, x1, base, wall)
    shade = (x1 - x0) * rng.uniform(.1, .25)
    edge = (x0, x0 + shade) if canvas.sun > 0 else (x1 - shade, x1)
    canvas.box(edge[0], top, edge[1], base, lambda x, y: wall(x, y) * .68)
    _draw_windows(canvas, x0 + 2, top + floor * .25, x1 - 2, base - floor * .7, floor * rng.uniform(.7, 1.), night)
    door = x0 + (x1 - x0) * rng.uniform(.2, .7)
    canvas.box(door, base - floor * .62, door + floor * .38, base, hsv(rng.uniform(0, 1), .5, rng.uniform(.2, .6)))
    roof = hsv(rng.uniform(-.03, .08), rng.uniform(.1, .6), rng.uniform(.25, .6))
    if (base - top) < 3.2 * floor and rng.random() < .75:
        overhang, rise = floor * .2, floor * rng.uniform(.5, 1.1)
        inset = (x1 - x0) * rng.uniform(.1, .5)
        canvas.polygon([(x0 - overhang, top), (x0 + inset, top - rise), (x1 - inset, top - rise), (x1 + overhang, top)],
                       canvas.noise.grainy(striped(roof, roof * .8, 4, .3, 'y'), fine=.06))
    else:
        canvas.box(x0 - 1, top - floor * .12, x1 + 1, top + 1, colour * .6)
