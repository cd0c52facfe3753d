"""Vehicles: cars from the side and from the front, buses, trucks.

Each ``draw_*(canvas, x, y, unit)`` draws one that stands at (x, y); ``unit`` is the height of a
grown person at that place in pixels, and all sizes are given in it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from convnext_dense.scenes.canvas import Canvas
from convnext_dense.scenes.shapes import box
from convnext_dense.scenes.textures import (
    DARK,
    LAMP,
    Texture,
    any_colour,
    gradient,
    hsv,
    striped,
)

_HUB = np.array([150.0, 150.0, 155.0])
_TAIL_LAMP = np.array([210.0, 40.0, 30.0])
_BRAKE_LAMP = np.array([230.0, 40.0, 30.0])
_GLASS_HUE = 0.57
_BUS_WINDOWS = 6


def _draw_wheels(canvas: Canvas, centres: Iterable[float], y: float, radius: float) -> None:
    for x in centres:
        canvas.ellipse(x, y - radius, radius, radius, DARK)
        canvas.ellipse(x, y - radius, radius * 0.5, radius * 0.5, _HUB)


def _shade(canvas: Canvas, paint: np.ndarray, y: float, height: float) -> Texture:
    """Car paint: brighter above, darker below."""
    return canvas.noise.grainy(gradient(paint * 1.15, paint * 0.7, y - height, y), fine=0.03)


def _trapezium(
    x: float, top: float, bottom: float, half_top: float, half_bottom: float
) -> list[tuple[float, float]]:
    """Corners of a symmetric shape around ``x``, given half of its width at the top and bottom."""
    return [
        (x - half_top, top),
        (x + half_top, top),
        (x + half_bottom, bottom),
        (x - half_bottom, bottom),
    ]


def _draw_car_front(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A car seen from the front or from behind."""
    rng = canvas.rng
    wide = unit * 1.05
    high = unit * rng.uniform(0.82, 0.95)
    paint = any_colour(rng)

    # Two wheels, the cabin with its window, and the body in front of them.
    for side in (-0.8, 0.8):
        wheel = x + side * wide / 2
        canvas.box(wheel - unit * 0.1, y - unit * 0.22, wheel + unit * 0.1, y, DARK)
    cabin = _trapezium(x, y - high, y - high * 0.5, wide * 0.36, wide * 0.47)
    canvas.polygon(cabin, paint * 0.9)
    glass = hsv(_GLASS_HUE, rng.uniform(0.1, 0.4), rng.uniform(0.2, 0.6))
    window = _trapezium(x, y - high * 0.93, y - high * 0.55, wide * 0.31, wide * 0.4)
    canvas.polygon(window, glass)
    body = _shade(canvas, paint, y, high * 0.6)
    canvas.box(x - wide / 2, y - high * 0.55, x + wide / 2, y - high * 0.12, body)

    # Radiator grille, or the number plate, between two lamps.
    canvas.box(x - wide * 0.28, y - high * 0.34, x + wide * 0.28, y - high * 0.2, DARK)
    lamp = LAMP if rng.random() < 0.6 else _BRAKE_LAMP
    for side in (-0.38, 0.38):
        canvas.ellipse(x + side * wide, y - high * 0.42, unit * 0.09, unit * 0.07, lamp)


def _draw_car_side(canvas: Canvas, x: float, y: float, unit: float) -> None:
    rng = canvas.rng
    facing = rng.choice([-1, 1])
    long = unit * rng.uniform(2.1, 2.6)
    high = unit * rng.uniform(0.78, 0.92)
    paint = any_colour(rng)
    rear = rng.uniform(-0.48, -0.36)  # where the cabin ends at the back
    glass = hsv(_GLASS_HUE, rng.uniform(0.1, 0.4), rng.uniform(0.2, 0.6))

    def place(*points: tuple[float, float]) -> list[tuple[float, float]]:
        """Pixels of points given in lengths from the middle to the front, and in heights."""
        return [(x + facing * long * px, y - high * py) for px, py in points]

    body = place((-0.5, 0.15), (-0.5, 0.55), (rear, 0.62), (0.2, 0.62), (0.47, 0.5), (0.5, 0.15))
    canvas.polygon(body, _shade(canvas, paint, y, high))
    cabin = place((rear, 0.58), (rear + 0.1, 1), (0.08, 1), (0.24, 0.58))
    canvas.polygon(cabin, paint * 0.95)
    rear_window = place((rear + 0.05, 0.6), (rear + 0.12, 0.93), (-0.1, 0.93), (-0.1, 0.6))
    canvas.polygon(rear_window, glass)
    front_window = place((-0.07, 0.6), (-0.07, 0.93), (0.06, 0.93), (0.18, 0.6))
    canvas.polygon(front_window, glass * 1.15)
    _draw_wheels(canvas, (x - long * 0.29, x + long * 0.29), y, unit * 0.2)
    ((lamp_x, lamp_y),) = place((0.46, 0.42))
    canvas.ellipse(lamp_x, lamp_y, unit * 0.06, unit * 0.06, LAMP)
    ((tail_x, tail_y),) = place((-0.48, 0.45))
    canvas.ellipse(tail_x, tail_y, unit * 0.05, unit * 0.07, _TAIL_LAMP)


def draw_car(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A car from the side, or from the front or behind."""
    from_side = canvas.rng.random() < 0.65
    shadow = unit * 1.3 if from_side else unit * 0.65
    canvas.shadow(x, y - unit * 0.05, shadow, unit * 0.12, 0.55)
    canvas.begin('car', thing=True)
    if from_side:
        _draw_car_side(canvas, x, y, unit)
    else:
        _draw_car_front(canvas, x, y, unit)


def draw_bus(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A long box with one row of windows and a stripe."""
    rng = canvas.rng
    long = unit * rng.uniform(2.7, 3.3)
    high = unit * rng.uniform(1.3, 1.5)
    paint = any_colour(rng)
    left = x - long / 2
    right = x + long / 2
    top = y - high
    canvas.shadow(x, y - unit * 0.05, long * 0.55, unit * 0.14, 0.55)
    canvas.begin('bus', thing=True)

    # Body, a bright roof, and the stripe below the windows.
    canvas.box(left, top, right, y - unit * 0.14, _shade(canvas, paint, y, high))
    canvas.box(left, top, right, top + high * 0.07, np.minimum(paint * 0.6 + 90, 255))
    canvas.box(left, y - high * 0.36, right, y - high * 0.28, any_colour(rng))

    glass = hsv(_GLASS_HUE, rng.uniform(0.1, 0.4), rng.uniform(0.15, 0.5))
    for window in range(_BUS_WINDOWS):
        start = left + long * (window + 0.12) / _BUS_WINDOWS
        end = start + long * 0.8 / _BUS_WINDOWS
        pane = glass * rng.uniform(0.9, 1.2)
        canvas.box(start, top + high * 0.17, end, y - high * 0.45, pane)
    _draw_wheels(canvas, (x - long * 0.32, x + long * 0.32), y, unit * 0.22)


def draw_truck(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A load box without windows behind a lower cab."""
    rng = canvas.rng
    facing = rng.choice([-1, 1])
    long = unit * rng.uniform(2.4, 3.0)
    high = unit * rng.uniform(1.25, 1.5)
    cab = unit * 0.8  # length of the cab
    paint = any_colour(rng)
    load = any_colour(rng)
    canvas.shadow(x, y - unit * 0.05, long * 0.55, unit * 0.14, 0.55)
    canvas.begin('truck', thing=True)

    def place(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        """Pixels of points given in pixels from the back of the truck and above the ground."""
        return [(x + facing * (px - long / 2), y - py) for px, py in points]

    # Frame and load box.
    canvas.polygon(place(box(0, unit * 0.18, long, unit * 0.34)), DARK)
    planks = striped(load, load * 0.85, unit * 0.3, 0.15)
    load_box = box(0, unit * 0.3, long - cab - unit * 0.06, high)
    canvas.polygon(place(load_box), canvas.noise.grainy(planks, fine=0.04))

    # Cab with a slanted front, and its window.
    back = long - cab
    roof = high * 0.8
    low = unit * 0.18
    outline = [
        (back, low),
        (back, roof),
        (long - cab * 0.35, roof),
        (long, unit * 0.7),
        (long, low),
    ]
    canvas.polygon(place(outline), _shade(canvas, paint, y, high))
    sill = unit * 0.72
    top = high * 0.72
    window = [
        (long - cab * 0.7, sill),
        (long - cab * 0.7, top),
        (long - cab * 0.4, top),
        (long - cab * 0.12, sill),
    ]
    canvas.polygon(place(window), hsv(_GLASS_HUE, 0.3, rng.uniform(0.2, 0.6)))

    wheels = place([(long * 0.14, 0), (long * 0.3, 0), (long * 0.84, 0)])
    _draw_wheels(canvas, [wheel_x for wheel_x, _ in wheels], y, unit * 0.2)
