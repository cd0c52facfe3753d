"""What stands along a street: lights, boards, fences, traffic lights, cones.

Each ``draw_*(canvas, x, y, unit)`` draws one whose foot is at (x, y); ``unit`` is the height of a grown person at that
place, in pixels, and everything else is measured in it.
"""

from __future__ import annotations

import numpy as np

from convnext_dense.scenes.canvas import Canvas
from convnext_dense.scenes.shapes import limb
from convnext_dense.scenes.textures import DARK, LAMP, hsv, striped


def _post(canvas: Canvas, x: float, y: float, top: float, width: float, colour) -> None:
    canvas.box(x - width / 2, top, x + width / 2, y, colour)
    edge = x + canvas.sun * width * 0.2
    canvas.box(edge - width / 6, top, edge + width / 6, y, np.minimum(colour * 1.5, 255))


def draw_streetlight(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A tapered post with one globe, two globes, or a lamp on an arm."""
    rng, height, width = canvas.rng, unit * canvas.rng.uniform(1.8, 2.5), max(unit * 0.15, 6)
    colour, kind = (
        hsv(rng.uniform(0, 1), rng.uniform(0, 0.3), rng.uniform(0.12, 0.6)),
        rng.integers(3),
    )
    globe, top = max(unit * 0.24, 7), y - height
    canvas.shadow(x, y, unit * 0.2, unit * 0.05)
    canvas.begin('streetlight', thing=True)
    _post(canvas, x, y, top, width, colour)
    canvas.box(x - width, y - unit * 0.22, x + width, y, colour * 0.85)
    if kind == 2:
        arm = rng.choice([-1, 1]) * unit * 0.75
        canvas.polygon(limb((x, top + width), (x + arm, top - unit * 0.05), width * 0.9), colour)
        canvas.polygon(
            limb((x + arm * 0.6, top), (x + arm * 1.25, top - unit * 0.08), globe * 1.1),
            colour * 0.8,
        )
        canvas.ellipse(x + arm * 0.93, top + unit * 0.06, globe * 0.9, globe * 0.5, LAMP)
        return
    for side in (0,) if kind == 0 else (-1, 1):
        canvas.polygon(
            limb((x, top + unit * 0.12), (x + side * unit * 0.32, top), width * 0.8), colour
        )
        lamp = x + side * unit * 0.32
        canvas.ellipse(lamp, top - globe * 0.6, globe * 0.95, globe, LAMP)
        canvas.box(
            lamp - globe * 0.5, top - globe * 1.9, lamp + globe * 0.5, top - globe * 1.4, colour
        )


def draw_signboard(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A board on posts with a frame, and lines of writing or an arrow."""
    rng, wide, high = (
        canvas.rng,
        unit * canvas.rng.uniform(0.9, 1.5),
        unit * canvas.rng.uniform(0.6, 0.85),
    )
    top = y - unit * rng.uniform(1.25, 1.7)
    hue = rng.choice([0.38, 0.6, 0.98]) + rng.uniform(-0.04, 0.04)
    board, steel = (
        hsv(hue, rng.uniform(0.6, 0.9), rng.uniform(0.3, 0.7)),
        hsv(0, 0, rng.uniform(0.3, 0.7)),
    )
    ink = np.full(3, 245.0) if board.mean() < 140 else np.full(3, 25.0)
    canvas.shadow(x, y, wide * 0.4, unit * 0.05)
    canvas.begin('signboard', thing=True)
    for side in (0,) if rng.random() < 0.4 else (-0.32, 0.32):
        _post(canvas, x + side * wide, y, top + high, max(unit * 0.1, 4), steel)
    canvas.box(x - wide / 2, top, x + wide / 2, top + high, ink)
    edge = max(unit * 0.05, 1.2)
    canvas.box(x - wide / 2 + edge, top + edge, x + wide / 2 - edge, top + high - edge, board)
    if rng.random() < 0.35:
        middle, tip = top + high / 2, x + rng.choice([-1, 1]) * wide * 0.38
        canvas.polygon(limb((2 * x - tip, middle), (x, middle), high * 0.2), ink)
        canvas.polygon([(x, middle - high * 0.3), (x, middle + high * 0.3), (tip, middle)], ink)
        return
    for row in range(3):
        line, left = top + high * (0.26 + 0.24 * row), x - wide * 0.38
        while left < x + wide * 0.25:
            right = min(left + wide * rng.uniform(0.1, 0.3), x + wide * 0.38)
            canvas.box(left, line - high * 0.06, right, line + high * 0.06, ink)
            left = right + wide * 0.06


def draw_fence(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """Pointed planks side by side, on a slope that follows the ground."""
    rng, high, plank = (
        canvas.rng,
        unit * canvas.rng.uniform(0.6, 0.85),
        max(unit * canvas.rng.uniform(0.13, 0.2), 4),
    )
    wooden = rng.random() < 0.75
    colour = hsv(
        rng.uniform(0.03, 0.1),
        rng.uniform(0.4, 0.65) if wooden else 0.04,
        rng.uniform(0.4, 0.7) if wooden else 0.92,
    )
    count, slope, pointed = int(rng.integers(8, 17)), rng.uniform(-0.08, 0.08), rng.random() < 0.7
    canvas.shadow(x, y, count * plank * 0.5, unit * 0.08)
    canvas.begin('fence', thing=True)
    for i in range(count):
        left = x + (i - count / 2) * plank
        foot = y + slope * (left - x)
        top, tip = foot - high, foot - high - (plank * 0.6 if pointed else 0)
        wood = canvas.noise.grainy(colour * rng.uniform(0.88, 1.08), blade=0.15)
        # a dark plank, and a narrower one on it: the rim is the gap to the next
        for right, drop, paint in ((left + plank, 0, colour * 0.45), (left + plank - 1.2, 1, wood)):
            canvas.polygon(
                [
                    (left, foot),
                    (left, top + drop),
                    (left + plank / 2, tip + drop),
                    (right, top + drop),
                    (right, foot),
                ],
                paint,
            )
    for share in (0.25, 0.75):
        ends = [
            (x + side * count * plank / 2, y + side * slope * count * plank / 2 - high * share)
            for side in (-1, 1)
        ]
        canvas.polygon(limb(*ends, max(high * 0.1, 2)), colour * 0.75)


def draw_traffic_light(canvas: Canvas, x: float, y: float, unit: float) -> None:
    rng, height, width = canvas.rng, unit * canvas.rng.uniform(1.7, 2.1), max(unit * 0.1, 4)
    high, wide, lit = unit * 0.85, unit * 0.36, canvas.rng.integers(3)
    canvas.shadow(x, y, unit * 0.2, unit * 0.05)
    canvas.begin('traffic light', thing=True)
    _post(canvas, x, y, y - height + high, width, hsv(0, 0, rng.uniform(0.2, 0.5)))
    canvas.box(
        x - wide / 2, y - height, x + wide / 2, y - height + high, DARK * rng.uniform(0.8, 1.6)
    )
    for i, hue in enumerate((0.0, 0.12, 0.38)):
        glow = hsv(hue, 0.9, 1.0) * (1.2 if i == lit else 0.3)
        canvas.ellipse(x, y - height + high * (0.2 + 0.3 * i), wide * 0.32, wide * 0.32, glow)


def draw_cone(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A traffic cone: no data set here has a class for it, so it stays unlabelled there."""
    high = unit * canvas.rng.uniform(0.38, 0.5)
    canvas.begin('traffic cone', thing=True)
    canvas.box(x - high * 0.42, y - high * 0.12, x + high * 0.42, y, np.array([210.0, 70.0, 20.0]))
    low, top = y - high * 0.1, y - high
    canvas.polygon(
        [
            (x - high * 0.3, low),
            (x - high * 0.06, top),
            (x + high * 0.06, top),
            (x + high * 0.3, low),
        ],
        striped([240, 95, 25], [240, 240, 235], high * 0.5, 0.4, 'y'),
    )
