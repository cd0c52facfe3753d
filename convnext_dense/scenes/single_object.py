"""Drawn pictures of one thing each, in front of a random place: classification with known answers."""

from __future__ import annotations

import numpy as np

from convnext_dense.scenes import landscape
from convnext_dense.scenes.camera import LIGHTS, Light, photograph, sky_colours
from convnext_dense.scenes.canvas import Canvas
from convnext_dense.scenes.places import LAYOUTS, Ground
from convnext_dense.scenes.scene import SPLITS
from convnext_dense.scenes.things import THINGS

SIZES = (72, 80, 88, 96)  # of either side, pixels
# Height and width of each kind, in heights of a grown person: what it needs to fill the picture.
EXTENTS = {
    'person': (1.1, 0.6),
    'dog': (0.75, 1.0),
    'tree': (2.3, 1.1),
    'car': (0.9, 2.2),
    'bus': (1.45, 3.0),
    'truck': (1.4, 2.7),
    'streetlight': (2.5, 1.0),
    'signboard': (1.6, 1.2),
    'fence': (0.8, 1.9),
    'traffic cone': (0.45, 0.4),
}
OBJECT_KINDS = tuple(EXTENTS)
_IN_FRONT = ('plant', 'traffic light')  # may hide a part of it; neither is a class here


def _draw_place(canvas: Canvas, light: Light) -> None:
    rng, height = canvas.rng, canvas.shape[0]
    top, bottom = sky_colours(light, rng)
    canvas.haze = bottom
    ground = Ground(canvas, height * rng.uniform(0.15, 0.6))
    landscape.draw_sky(canvas, top, bottom, ground.horizon)
    layout = str(rng.choice(list(LAYOUTS)))
    LAYOUTS[layout](canvas, ground, light.night)


def _draw_kind(canvas: Canvas, kind: str) -> tuple[int, float]:
    """Draw the thing somewhere, up to a fifth of it outside of the frame; its region's number, and the unit used."""
    rng, (height, width), (tall, wide) = canvas.rng, canvas.shape, EXTENTS[kind]
    unit = rng.uniform(0.6, 1.1) * min(height / tall, width / wide)
    half = unit * wide / 2
    x = rng.uniform(min(half * 0.6, width / 2), max(width - half * 0.6, width / 2))
    y = rng.uniform(min(unit * tall * 0.8, height), height * 1.03)
    before = len(canvas.regions)
    THINGS[kind].draw(canvas, x, y, unit)
    return before + 1, unit


def _draw_in_front(canvas: Canvas, region: int, unit: float) -> None:
    """Hide a part of the region, at most half of it, behind something that is no class."""
    rng, image, ids = canvas.rng, canvas.image.copy(), canvas.ids.copy()
    rows, columns = np.nonzero(ids == region)
    x = rng.choice([columns.min(), columns.max()]) + rng.normal() * unit * 0.1
    draw = THINGS[str(rng.choice(_IN_FRONT))].draw
    draw(canvas, x, rows.max() + unit * rng.uniform(0, 0.3), unit * rng.uniform(0.4, 0.7))
    if (canvas.ids == region).sum() < 0.5 * len(rows):
        canvas.image, canvas.ids = image, ids


def draw_object(kind: str, seed: int, split: str, index: int) -> np.ndarray:
    """Picture ``index`` of a kind, (H, W, 3) uint8 RGB of 72 to 96 px a side; same arguments, same picture.

    Place, light, size, position and what hides a part are random and do not depend on the kind, so that only the thing
    itself tells what it is. At least 3 % of the pixels show it.

    Args:
        kind: one of ``EXTENTS``.
        seed: of the whole data set, >= 0.
        split: 'training' or 'validation'.
        index: >= 0.
    """
    if kind not in EXTENTS or split not in SPLITS:
        raise ValueError(
            f'kind must be one of {list(EXTENTS)} and split one of {SPLITS}; got {kind!r}, {split!r}'
        )
    rng = np.random.default_rng((seed, SPLITS.index(split), index, list(EXTENTS).index(kind), 1))
    while True:
        height, width = (int(rng.choice(SIZES)) for _ in range(2))
        light: Light = list(LIGHTS.values())[rng.choice(len(LIGHTS), p=(0.5, 0.2, 0.15, 0.15))]
        canvas = Canvas(height, width, rng, sun=float(rng.choice([-1, 1])))
        _draw_place(canvas, light)
        region, unit = _draw_kind(canvas, kind)
        if (canvas.ids == region).mean() >= 0.06:
            break
    if rng.random() < 0.4:
        _draw_in_front(canvas, region, unit)
    return photograph(canvas.image, light, rng)
