"""Buildings: a wall with windows, a door and a roof."""

from __future__ import annotations

import numpy as np

from convnext_dense.scenes.canvas import Canvas
from convnext_dense.scenes.textures import Texture, bricks, hsv, striped

_LIT_WINDOW = np.array([330.0, 270.0, 150.0])  # over 255: it stays bright at night


def _make_wall(canvas: Canvas) -> tuple[np.ndarray, Texture]:
    """Colour of a wall, and its surface: plaster, bricks or courses of cladding."""
    rng = canvas.rng
    is_painted = rng.random() < 0.3
    hue = rng.uniform(0, 1) if is_painted else rng.uniform(0.0, 0.13)
    colour = hsv(hue, rng.uniform(0.03, 0.5), rng.uniform(0.42, 0.92))
    kind = ('plaster', 'bricks', 'cladding')[rng.integers(3)]
    if kind == 'bricks':
        return colour, bricks(colour, colour * 0.75)
    if kind == 'cladding':
        return colour, striped(colour, colour * 0.84, 6, 0.18, 'y')
    return colour, canvas.noise.grainy(colour, fine=0.04)


def _draw_windows(
    canvas: Canvas, x0: float, top: float, x1: float, base: float, cell: float, night: bool
) -> None:
    """Rows of windows about ``cell`` pixels apart; at night some of them are lit."""
    rng = canvas.rng
    columns = max(int((x1 - x0) / cell), 1)
    rows = max(int((base - top) / (cell * 1.25)), 1)
    width = (x1 - x0) / columns
    height = (base - top) / rows
    glass = hsv(rng.uniform(0.5, 0.65), rng.uniform(0.1, 0.4), rng.uniform(0.15, 0.55))
    frame = hsv(0, 0, rng.uniform(0.2, 1))
    # The window's share of its cell.
    wide = rng.uniform(0.45, 0.7)
    tall = rng.uniform(0.45, 0.65)
    for row in range(rows):
        for column in range(columns):
            left = x0 + width * (column + (1 - wide) / 2)
            upper = top + height * (row + (1 - tall) / 2)
            right = left + width * wide
            lower = upper + height * tall
            lit = night and rng.random() < 0.45
            canvas.box(left - 1, upper - 1, right + 1, lower + 1, frame)
            pane = _LIT_WINDOW if lit else glass * rng.uniform(0.8, 1.3)
            canvas.box(left, upper, right, lower, pane)


def _draw_roof(
    canvas: Canvas, x0: float, x1: float, top: float, floor: float, roof: np.ndarray
) -> None:
    """A pitched roof with courses of tiles."""
    rng = canvas.rng
    overhang = floor * 0.2
    rise = floor * rng.uniform(0.5, 1.1)
    inset = (x1 - x0) * rng.uniform(0.1, 0.5)
    outline = [
        (x0 - overhang, top),
        (x0 + inset, top - rise),
        (x1 - inset, top - rise),
        (x1 + overhang, top),
    ]
    tiles = striped(roof, roof * 0.8, 4, 0.3, 'y')
    canvas.polygon(outline, canvas.noise.grainy(tiles, fine=0.06))


def draw_building(
    canvas: Canvas, x0: float, x1: float, top: float, base: float, floor: float, night: bool
) -> None:
    """Draw a house or block.

    Args:
        canvas: what to draw on.
        x0: its left side.
        x1: its right side.
        top: row where the wall ends.
        base: row of the line that it stands on.
        floor: height of a storey in pixels.
        night: whether some windows are lit.
    """
    rng = canvas.rng
    colour, wall = _make_wall(canvas)
    canvas.begin('building')
    canvas.box(x0, top, x1, base, wall)

    # A strip in the shade, on the side away from the sun.
    shade = (x1 - x0) * rng.uniform(0.1, 0.25)
    left = x0 if canvas.sun > 0 else x1 - shade
    right = x0 + shade if canvas.sun > 0 else x1
    canvas.box(left, top, right, base, lambda x, y: wall(x, y) * 0.68)

    cell = floor * rng.uniform(0.7, 1.0)
    _draw_windows(canvas, x0 + 2, top + floor * 0.25, x1 - 2, base - floor * 0.7, cell, night)
    door = x0 + (x1 - x0) * rng.uniform(0.2, 0.7)
    door_colour = hsv(rng.uniform(0, 1), 0.5, rng.uniform(0.2, 0.6))
    canvas.box(door, base - floor * 0.62, door + floor * 0.38, base, door_colour)

    roof = hsv(rng.uniform(-0.03, 0.08), rng.uniform(0.1, 0.6), rng.uniform(0.25, 0.6))
    is_low = base - top < 3.2 * floor
    if is_low and rng.random() < 0.75:
        _draw_roof(canvas, x0, x1, top, floor, roof)
    else:  # a flat roof: only its edge shows
        canvas.box(x0 - 1, top - floor * 0.12, x1 + 1, top + 1, colour * 0.6)
