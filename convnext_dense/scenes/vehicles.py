"""Vehicles: cars from the side and from the front, buses, trucks.

Each ``draw_*(canvas, x, y, unit)`` draws one whose foot is at (x, y); ``unit`` is the height of a grown person at that
place, in pixels, and everything else is measured in it.
"""

from __future__ import annotations

import numpy as np

from convnext_dense.scenes.canvas import Canvas
from convnext_dense.scenes.shapes import box
from convnext_dense.scenes.textures import DARK, LAMP, any_colour, gradient, hsv, striped


def _draw_wheels(canvas: Canvas, centres, y: float, radius: float) -> None:
    for x in centres:
        canvas.ellipse(x, y - radius, radius, radius, DARK)
        canvas.ellipse(x, y - radius, radius * 0.5, radius * 0.5, np.array([150.0, 150.0, 155.0]))


def _shaded(canvas: Canvas, paint: np.ndarray, y: float, height: float):
    """Car paint: brighter above, darker below."""
    return canvas.noise.grainy(gradient(paint * 1.15, paint * 0.7, y - height, y), fine=0.03)


def _draw_car_front(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A car seen from the front or from behind."""
    rng, wide, high = canvas.rng, unit * 1.05, unit * canvas.rng.uniform(0.82, 0.95)
    paint = any_colour(rng)
    for side in (-0.8, 0.8):
        canvas.box(
            x + side * wide / 2 - unit * 0.1,
            y - unit * 0.22,
            x + side * wide / 2 + unit * 0.1,
            y,
            DARK,
        )
    canvas.polygon(
        [
            (x - wide * 0.36, y - high),
            (x + wide * 0.36, y - high),
            (x + wide * 0.47, y - high * 0.5),
            (x - wide * 0.47, y - high * 0.5),
        ],
        paint * 0.9,
    )
    glass = hsv(0.57, rng.uniform(0.1, 0.4), rng.uniform(0.2, 0.6))
    canvas.polygon(
        [
            (x - wide * 0.31, y - high * 0.93),
            (x + wide * 0.31, y - high * 0.93),
            (x + wide * 0.4, y - high * 0.55),
            (x - wide * 0.4, y - high * 0.55),
        ],
        glass,
    )
    canvas.box(
        x - wide / 2,
        y - high * 0.55,
        x + wide / 2,
        y - high * 0.12,
        _shaded(canvas, paint, y, high * 0.6),
    )
    canvas.box(x - wide * 0.28, y - high * 0.34, x + wide * 0.28, y - high * 0.2, DARK)
    lamp = LAMP if rng.random() < 0.6 else np.array([230.0, 40.0, 30.0])
    for side in (-0.38, 0.38):
        canvas.ellipse(x + side * wide, y - high * 0.42, unit * 0.09, unit * 0.07, lamp)


def _draw_car_side(canvas: Canvas, x: float, y: float, unit: float) -> None:
    rng, facing = canvas.rng, canvas.rng.choice([-1, 1])
    long, high = unit * rng.uniform(2.1, 2.6), unit * rng.uniform(0.78, 0.92)
    paint, rear, glass = (
        any_colour(rng),
        rng.uniform(-0.48, -0.36),
        hsv(0.57, rng.uniform(0.1, 0.4), rng.uniform(0.2, 0.6)),
    )

    def place(points):
        return [(x + facing * long * px, y - high * py) for px, py in points]

    body = [(-0.5, 0.15), (-0.5, 0.55), (rear, 0.62), (0.2, 0.62), (0.47, 0.5), (0.5, 0.15)]
    canvas.polygon(place(body), _shaded(canvas, paint, y, high))
    canvas.polygon(place([(rear, 0.58), (rear + 0.1, 1), (0.08, 1), (0.24, 0.58)]), paint * 0.95)
    canvas.polygon(
        place([(rear + 0.05, 0.6), (rear + 0.12, 0.93), (-0.1, 0.93), (-0.1, 0.6)]), glass
    )
    canvas.polygon(place([(-0.07, 0.6), (-0.07, 0.93), (0.06, 0.93), (0.18, 0.6)]), glass * 1.15)
    _draw_wheels(canvas, (x - long * 0.29, x + long * 0.29), y, unit * 0.2)
    canvas.ellipse(*place([(0.46, 0.42)])[0], unit * 0.06, unit * 0.06, LAMP)
    canvas.ellipse(
        *place([(-0.48, 0.45)])[0], unit * 0.05, unit * 0.07, np.array([210.0, 40.0, 30.0])
    )


def draw_car(canvas: Canvas, x: float, y: float, unit: float) -> None:
    side = canvas.rng.random() < 0.65
    canvas.shadow(x, y - unit * 0.05, unit * (1.3 if side else 0.65), unit * 0.12, 0.55)
    canvas.begin('car', thing=True)
    (_draw_car_side if side else _draw_car_front)(canvas, x, y, unit)


def draw_bus(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A long box with one band of windows and a stripe."""
    rng = canvas.rng
    long, high, paint = unit * rng.uniform(2.7, 3.3), unit * rng.uniform(1.3, 1.5), any_colour(rng)
    left, right, top = x - long / 2, x + long / 2, y - high
    canvas.shadow(x, y - unit * 0.05, long * 0.55, unit * 0.14, 0.55)
    canvas.begin('bus', thing=True)
    canvas.box(left, top, right, y - unit * 0.14, _shaded(canvas, paint, y, high))
    canvas.box(left, top, right, top + high * 0.07, np.minimum(paint * 0.6 + 90, 255))
    canvas.box(left, y - high * 0.36, right, y - high * 0.28, any_colour(rng))
    glass, count = hsv(0.57, rng.uniform(0.1, 0.4), rng.uniform(0.15, 0.5)), 6
    for i in range(count):
        start = left + long * (i + 0.12) / count
        canvas.box(
            start,
            top + high * 0.17,
            start + long * 0.8 / count,
            y - high * 0.45,
            glass * rng.uniform(0.9, 1.2),
        )
    _draw_wheels(canvas, (x - long * 0.32, x + long * 0.32), y, unit * 0.22)


def draw_truck(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A plain load box behind a lower cab."""
    rng, facing = canvas.rng, canvas.rng.choice([-1, 1])
    long, high, cab = unit * rng.uniform(2.4, 3.0), unit * rng.uniform(1.25, 1.5), unit * 0.8
    paint, load = any_colour(rng), any_colour(rng)
    canvas.shadow(x, y - unit * 0.05, long * 0.55, unit * 0.14, 0.55)
    canvas.begin('truck', thing=True)

    def place(points):
        return [(x + facing * (px - long / 2), y - py) for px, py in points]

    canvas.polygon(place(box(0, unit * 0.18, long, unit * 0.34)), DARK)
    canvas.polygon(
        place(box(0, unit * 0.3, long - cab - unit * 0.06, high)),
        canvas.noise.grainy(striped(load, load * 0.85, unit * 0.3, 0.15), fine=0.04),
    )
    back, roof, low = long - cab, high * 0.8, unit * 0.18
    canvas.polygon(
        place(
            [(back, low), (back, roof), (long - cab * 0.35, roof), (long, unit * 0.7), (long, low)]
        ),
        _shaded(canvas, paint, y, high),
    )
    sill, top = unit * 0.72, high * 0.72
    canvas.polygon(
        place(
            [
                (long - cab * 0.7, sill),
                (long - cab * 0.7, top),
                (long - cab * 0.4, top),
                (long - cab * 0.12, sill),
            ]
        ),
        hsv(0.57, 0.3, rng.uniform(0.2, 0.6)),
    )
    _draw_wheels(
        canvas,
        [x + facing * (px - long / 2) for px in (long * 0.14, long * 0.3, long * 0.84)],
        y,
        unit * 0.2,
    )
