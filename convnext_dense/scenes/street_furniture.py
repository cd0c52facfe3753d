"""What stands along a street: lights, boards, fences, traffic lights, cones.

Each ``draw_*(canvas, x, y, unit)`` draws one that stands at (x, y); ``unit`` is the height of a
grown person at that place in pixels, and all sizes are given in it.
"""

from __future__ import annotations

import numpy as np

from convnext_dense.scenes.canvas import Canvas
from convnext_dense.scenes.shapes import limb
from convnext_dense.scenes.textures import DARK, LAMP, Paint, hsv, striped

_SIGN_HUES = (0.38, 0.6, 0.98)  # green, blue, red
_SIGNAL_HUES = (0.0, 0.12, 0.38)  # red, amber, green from top to bottom
_CONE_BASE = np.array([210.0, 70.0, 20.0])
_CONE_ORANGE = (240, 95, 25)
_CONE_WHITE = (240, 240, 235)


def _draw_post(
    canvas: Canvas, x: float, y: float, top: float, width: float, colour: np.ndarray
) -> None:
    """An upright post with a bright line on the side of the sun."""
    canvas.box(x - width / 2, top, x + width / 2, y, colour)
    edge = x + canvas.sun * width * 0.2
    canvas.box(edge - width / 6, top, edge + width / 6, y, np.minimum(colour * 1.5, 255))


def draw_streetlight(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A post with one globe, two globes, or a lamp on an arm."""
    rng = canvas.rng
    height = unit * rng.uniform(1.8, 2.5)
    width = max(unit * 0.15, 6)
    colour = hsv(rng.uniform(0, 1), rng.uniform(0, 0.3), rng.uniform(0.12, 0.6))
    kind = ('one globe', 'two globes', 'arm')[rng.integers(3)]
    top = y - height
    canvas.shadow(x, y, unit * 0.2, unit * 0.05)
    canvas.begin('streetlight', thing=True)
    _draw_post(canvas, x, y, top, width, colour)
    canvas.box(x - width, y - unit * 0.22, x + width, y, colour * 0.85)  # foot
    if kind == 'arm':
        _draw_lamp_on_arm(canvas, x, top, unit, width, colour)
    elif kind == 'one globe':
        _draw_globe(canvas, x, top, unit, width, colour, side=0)
    else:
        for side in (-1, 1):
            _draw_globe(canvas, x, top, unit, width, colour, side)


def _draw_lamp_on_arm(
    canvas: Canvas, x: float, top: float, unit: float, width: float, colour: np.ndarray
) -> None:
    arm = canvas.rng.choice([-1, 1]) * unit * 0.75
    size = max(unit * 0.24, 7)
    bar = limb((x, top + width), (x + arm, top - unit * 0.05), width * 0.9)
    canvas.polygon(bar, colour)
    housing = limb((x + arm * 0.6, top), (x + arm * 1.25, top - unit * 0.08), size * 1.1)
    canvas.polygon(housing, colour * 0.8)
    canvas.ellipse(x + arm * 0.93, top + unit * 0.06, size * 0.9, size * 0.5, LAMP)


def _draw_globe(
    canvas: Canvas, x: float, top: float, unit: float, width: float, colour: np.ndarray, side: int
) -> None:
    """A globe with a cap above the post (side 0) or at the end of a bracket (side -1 or 1)."""
    size = max(unit * 0.24, 7)
    lamp = x + side * unit * 0.32
    bracket = limb((x, top + unit * 0.12), (lamp, top), width * 0.8)
    canvas.polygon(bracket, colour)
    canvas.ellipse(lamp, top - size * 0.6, size * 0.95, size, LAMP)
    canvas.box(lamp - size * 0.5, top - size * 1.9, lamp + size * 0.5, top - size * 1.4, colour)


def draw_signboard(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A board on one or two posts with a frame, and lines of writing or an arrow."""
    rng = canvas.rng
    wide = unit * rng.uniform(0.9, 1.5)
    high = unit * rng.uniform(0.6, 0.85)
    top = y - unit * rng.uniform(1.25, 1.7)
    hue = rng.choice(_SIGN_HUES) + rng.uniform(-0.04, 0.04)
    board = hsv(hue, rng.uniform(0.6, 0.9), rng.uniform(0.3, 0.7))
    steel = hsv(0, 0, rng.uniform(0.3, 0.7))
    ink = np.full(3, 245.0) if board.mean() < 140 else np.full(3, 25.0)
    canvas.shadow(x, y, wide * 0.4, unit * 0.05)
    canvas.begin('signboard', thing=True)
    posts = (0.0,) if rng.random() < 0.4 else (-0.32, 0.32)
    for side in posts:
        _draw_post(canvas, x + side * wide, y, top + high, max(unit * 0.1, 4), steel)

    # A board in the colour of the ink, and a smaller one on it: the rim is the frame.
    canvas.box(x - wide / 2, top, x + wide / 2, top + high, ink)
    edge = max(unit * 0.05, 1.2)
    canvas.box(x - wide / 2 + edge, top + edge, x + wide / 2 - edge, top + high - edge, board)
    if rng.random() < 0.35:
        _draw_arrow(canvas, x, top, wide, high, ink)
    else:
        _draw_writing(canvas, x, top, wide, high, ink)


def _draw_arrow(
    canvas: Canvas, x: float, top: float, wide: float, high: float, ink: np.ndarray
) -> None:
    middle = top + high / 2
    tip = x + canvas.rng.choice([-1, 1]) * wide * 0.38
    canvas.polygon(limb((2 * x - tip, middle), (x, middle), high * 0.2), ink)
    canvas.polygon([(x, middle - high * 0.3), (x, middle + high * 0.3), (tip, middle)], ink)


def _draw_writing(
    canvas: Canvas, x: float, top: float, wide: float, high: float, ink: np.ndarray
) -> None:
    """Three lines of words, which are bars of random lengths."""
    for row in range(3):
        line = top + high * (0.26 + 0.24 * row)
        left = x - wide * 0.38
        while left < x + wide * 0.25:
            right = min(left + wide * canvas.rng.uniform(0.1, 0.3), x + wide * 0.38)
            canvas.box(left, line - high * 0.06, right, line + high * 0.06, ink)
            left = right + wide * 0.06


def draw_fence(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """Planks side by side, most of them pointed, on a slope that follows the ground."""
    rng = canvas.rng
    high = unit * rng.uniform(0.6, 0.85)
    plank = max(unit * rng.uniform(0.13, 0.2), 4)
    wooden = rng.random() < 0.75
    hue = rng.uniform(0.03, 0.1)
    if wooden:
        saturation = rng.uniform(0.4, 0.65)
        value = rng.uniform(0.4, 0.7)
    else:  # painted white
        saturation = 0.04
        value = 0.92
    colour = hsv(hue, saturation, value)
    count = int(rng.integers(8, 17))
    slope = rng.uniform(-0.08, 0.08)
    pointed = rng.random() < 0.7
    half = count * plank / 2
    canvas.shadow(x, y, count * plank * 0.5, unit * 0.08)
    canvas.begin('fence', thing=True)
    for number in range(count):
        left = x + (number - count / 2) * plank
        foot = y + slope * (left - x)
        wood = canvas.noise.grainy(colour * rng.uniform(0.88, 1.08), blade=0.15)
        tip = plank * 0.6 if pointed else 0.0
        # A dark plank, and a narrower one on it: the rim is the gap to the next plank.
        _draw_plank(canvas, left, left + plank, plank, foot, foot - high, tip, colour * 0.45)
        _draw_plank(canvas, left, left + plank - 1.2, plank, foot, foot - high + 1, tip, wood)
    for share in (0.25, 0.75):  # two rails, at these shares of the height
        start = (x - half, y - slope * half - high * share)
        end = (x + half, y + slope * half - high * share)
        canvas.polygon(limb(start, end, max(high * 0.1, 2)), colour * 0.75)


def _draw_plank(
    canvas: Canvas,
    left: float,
    right: float,
    width: float,
    foot: float,
    shoulder: float,
    tip: float,
    paint: Paint,
) -> None:
    """A plank from ``foot`` to ``shoulder`` (rows) with a point of height ``tip`` in its middle."""
    outline = [
        (left, foot),
        (left, shoulder),
        (left + width / 2, shoulder - tip),
        (right, shoulder),
        (right, foot),
    ]
    canvas.polygon(outline, paint)


def draw_traffic_light(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A dark case with three lamps, one of them lit, on a post."""
    rng = canvas.rng
    height = unit * rng.uniform(1.7, 2.1)
    width = max(unit * 0.1, 4)
    high = unit * 0.85
    wide = unit * 0.36
    lit = rng.integers(3)
    top = y - height
    canvas.shadow(x, y, unit * 0.2, unit * 0.05)
    canvas.begin('traffic light', thing=True)
    _draw_post(canvas, x, y, top + high, width, hsv(0, 0, rng.uniform(0.2, 0.5)))
    case = DARK * rng.uniform(0.8, 1.6)
    canvas.box(x - wide / 2, top, x + wide / 2, top + high, case)
    for lamp, hue in enumerate(_SIGNAL_HUES):
        brightness = 1.2 if lamp == lit else 0.3
        glow = hsv(hue, 0.9, 1.0) * brightness
        canvas.ellipse(x, top + high * (0.2 + 0.3 * lamp), wide * 0.32, wide * 0.32, glow)


def draw_cone(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A traffic cone: none of our data sets has a class for it, so it stays unlabelled there."""
    high = unit * canvas.rng.uniform(0.38, 0.5)
    canvas.begin('traffic cone', thing=True)
    canvas.box(x - high * 0.42, y - high * 0.12, x + high * 0.42, y, _CONE_BASE)
    low = y - high * 0.1
    top = y - high
    outline = [
        (x - high * 0.3, low),
        (x - high * 0.06, top),
        (x + high * 0.06, top),
        (x + high * 0.3, low),
    ]
    canvas.polygon(outline, striped(_CONE_ORANGE, _CONE_WHITE, high * 0.5, 0.4, 'y'))
