"""Vehicles: cars from the side and from the front, buses, trucks.

Each ``draw_*(canvas, x, y, unit)`` draws one whose foot is at (x, y); ``unit`` is the height of a grown person at that
place, in pixels, and everything else is measured in it.
"""
from __future__ import annotations

import numpy as np

from convnext_dense.data.canvas import Canvas
from convnext_dense.data.shapes import box
from convnext_dense.data.textures import DARK, LAMP, any_colour, gradient, hsv, striped


def _draw_wheels(canvas: Canvas, centres, y: float, radius: float) -> None:
    for x in centres:
        canvas.ellipse(x, y - radius, radius, radius, DARK)
        canvas.ellipse(x, y - radius, radius * .5, radius * .5, np.array([150., 150., 155.]))


def _shaded(canvas: Canvas, paint: np.ndarray, y: float, height: float):
    """Car paint: brighter above, darker below."""
    return canvas.noise.grainy(gradient(paint * 1.15, paint * .7, y - height, y), fine=.03)


def _draw_car_front(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A car seen from the front or from behind."""
    rng, wide, high = canvas.rng, unit * 1.05, unit * canvas.rng.uniform(.82, .95)
    paint = any_colour(rng)
    for side in (-.8, .8):
        canvas.box(x + side * wide / 2 - unit * .1, y - unit * .22, x + side * wide / 2 + unit * .1, y, DARK)
    canvas.polygon([(x - wide * .36, y - high), (x + wide * .36, y - high), (x + wide * .47, y - high * .5),
                    (x - wide * .47, y - high * .5)], paint * .9)
    glass = hsv(.57, rng.uniform(.1, .4), rng.uniform(.2, .6))
    canvas.polygon([(x - wide * .31, y - high * .93), (x + wide * .31, y - high * .93), (x + wide * .4, y - high * .55),
                    (x - wide * .4, y - high * .55)], glass)
    canvas.box(x - wide / 2, y - high * .55, x + wide / 2, y - high * .12, _shaded(canvas, paint, y, high * .6))
    canvas.box(x - wide * .28, y - high * .34, x + wide * .28, y - high * .2, DARK)
    lamp = LAMP if rng.random() < .6 else np.array([230., 40., 30.])
    for side in (-.38, .38):
        canvas.ellipse(x + side * wide, y - high * .42, unit * .09, unit * .07, lamp)


def _draw_car_side(canvas: Canvas, x: float, y: float, unit: float) -> None:
    rng, facing = canvas.rng, canvas.rng.choice([-1, 1])
    long, high = unit * rng.uniform(2.1, 2.6), unit * rng.uniform(.78, .92)
    paint, rear, glass = any_colour(rng), rng.uniform(-.48, -.36), hsv(.57, rng.uniform(.1, .4), rng.uniform(.2, .6))

    def place(points):
        return [(x + facing * long * px, y - high * py) for px, py in points]
    body = [(-.5, .15), (-.5, .55), (rear, .62), (.2, .62), (.47, .5), (.5, .15)]
    canvas.polygon(place(body), _shaded(canvas, paint, y, high))
    canvas.polygon(place([(rear, .58), (rear + .1, 1), (.08, 1), (.24, .58)]), paint * .95)
    canvas.polygon(place([(rear + .05, .6), (rear + .12, .93), (-.1, .93), (-.1, .6)]), glass)
    canvas.polygon(place([(-.07, .6), (-.07, .93), (.06, .93), (.18, .6)]), glass * 1.15)
    _draw_wheels(canvas, (x - long * .29, x + long * .29), y, unit * .2)
    canvas.ellipse(*place([(.46, .42)])[0], unit * .06, unit * .06, LAMP)
    canvas.ellipse(*place([(-.48, .45)])[0], unit * .05, unit * .07, np.array([210., 40., 30.]))


def draw_car(canvas: Canvas, x: float, y: float, unit: float) -> None:
    side = canvas.rng.random() < .65
    canvas.shadow(x, y - unit * .05, unit * (1.3 if side else .65), unit * .12, .55)
    canvas.begin('car', thing=True)
    (_draw_car_side if side else _draw_car_front)(canvas, x, y, unit)


def draw_bus(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A long box with one band of windows and a stripe."""
    rng = canvas.rng
    long, high, paint = unit * rng.uniform(2.7, 3.3), unit * rng.uniform(1.3, 1.5), any_colour(rng)
    left, right, top = x - long / 2, x + long / 2, y - high
    canvas.shadow(x, y - unit * .05, long * .55, unit * .14, .55)
    canvas.begin('bus', thing=True)
    canvas.box(left, top, right, y - unit * .14, _shaded(canvas, paint, y, high))
    canvas.box(left, top, right, top + high * .07, np.minimum(paint * .6 + 90, 255))
    canvas.box(left, y - high * .36, right, y - high * .28, any_colour(rng))
    glass, count = hsv(.57, rng.uniform(.1, .4), rng.uniform(.15, .5)), 6
    for i in range(count):
        start = left + long * (i + .12) / count
        canvas.box(start, top + high * .17, start + long * .8 / count, y - high * .45, glass * rng.uniform(.9, 1.2))
    _draw_wheels(canvas, (x - long * .32, x + long * .32), y, unit * .22)


def draw_truck(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A plain load box behind a lower cab."""
    rng, facing = canvas.rng, canvas.rng.choice([-1, 1])
    long, high, cab = unit * rng.uniform(2.4, 3.), unit * rng.uniform(1.25, 1.5), unit * .8
    paint, load = any_colour(rng), any_colour(rng)
    canvas.shadow(x, y - unit * .05, long * .55, unit * .14, .55)
    canvas.begin('truck', thing=True)

    def place(points):
        return [(x + facing * (px - long / 2), y - py) for px, py in points]
    canvas.polygon(place(box(0, unit * .18, long, unit * .34)), DARK)
    canvas.polygon(place(box(0, unit * .3, long - cab - unit * .06, high)), canvas.noise.grainy(
        striped(load, load * .85, unit * .3, .15), fine=.04))
    back, roof, low = long - cab, high * .8, unit * .18
    canvas.polygon(place([(back, low), (back, roof), (long - cab * .35, roof), (long, unit * .7), (long, low)]),
                   _shaded(canvas, paint, y, high))
    sill, top = unit * .72, high * .72
    canvas.polygon(place([(long - cab * .7, sill), (long - cab * .7, top), (long - cab * .4, top),
                          (long - cab * .12, sill)]), hsv(.57, .3, rng.uniform(.2, .6)))
    _draw_wheels(canvas, [x + facing * (px - long / 2) for px in (long * .14, long * .3, long * .84)], y, unit * .2)
