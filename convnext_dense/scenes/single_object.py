"""Drawn pictures of one object each in front of a random place, for classification."""

from __future__ import annotations

import numpy as np

from convnext_dense.scenes import landscape
from convnext_dense.scenes.camera import Light, choose_light, photograph, sky_colours
from convnext_dense.scenes.canvas import Canvas
from convnext_dense.scenes.places import PLACES, Ground
from convnext_dense.scenes.scene import SPLITS
from convnext_dense.scenes.things import THINGS

SIDES = (72, 80, 88, 96)  # height and width, pixels
# Height and width of each kind in heights of a grown person, to make it fill the picture.
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
_OBSTACLES = ('plant', 'traffic light')  # may hide a part of the object; neither is a class here
_MIN_SHARE = 0.06  # of the pixels show the object, before an obstacle hides up to half of it
_RANDOM_STREAM = 1  # last entry of the seed: other random numbers than those of scenes


def draw_object(kind: str, seed: int, split: str, index: int) -> np.ndarray:
    """Draw picture number ``index`` of a kind; the same arguments give the same picture.

    Place, light, size, position and what hides a part are random and do not depend on the kind, so
    that only the object itself tells what it is. At least 3 % of the pixels show it.

    Args:
        kind: one of ``OBJECT_KINDS``.
        seed: of the whole data set, >= 0.
        split: 'training' or 'validation'.
        index: >= 0.

    Returns:
        (H, W, 3) uint8 RGB of 72 to 96 pixels a side.

    Raises:
        ValueError: an unknown kind or split.
    """
    if kind not in OBJECT_KINDS or split not in SPLITS:
        raise ValueError(
            f'kind must be one of {list(OBJECT_KINDS)} and split one of {SPLITS}; '
            f'got {kind!r}, {split!r}'
        )
    entropy = (seed, SPLITS.index(split), index, OBJECT_KINDS.index(kind), _RANDOM_STREAM)
    rng = np.random.default_rng(entropy)
    while True:
        height = int(rng.choice(SIDES))
        width = int(rng.choice(SIDES))
        light = choose_light(rng)
        canvas = Canvas(height, width, rng, sun=float(rng.choice([-1, 1])))
        _draw_place(canvas, light)
        region, unit = _draw_kind(canvas, kind)
        if (canvas.ids == region).mean() >= _MIN_SHARE:
            break
    if rng.random() < 0.4:
        _draw_obstacle(canvas, region, unit)
    return photograph(canvas.image, light, rng)


def _draw_place(canvas: Canvas, light: Light) -> None:
    """Draw the background: sky and a random place."""
    rng = canvas.rng
    sky_top, sky_bottom = sky_colours(light, rng)
    canvas.haze = sky_bottom
    ground = Ground(canvas, horizon=canvas.shape[0] * rng.uniform(0.15, 0.6))
    landscape.draw_sky(canvas, sky_top, sky_bottom, ground.horizon)
    place = str(rng.choice(list(PLACES)))
    PLACES[place](canvas, ground, light.night)


def _draw_kind(canvas: Canvas, kind: str) -> tuple[int, float]:
    """Draw the object somewhere, up to a fifth of it outside of the picture.

    Returns:
        The number of its region, and the unit (height of a grown person in pixels).
    """
    rng = canvas.rng
    height, width = canvas.shape
    tall, wide = EXTENTS[kind]
    unit = rng.uniform(0.6, 1.1) * min(height / tall, width / wide)
    margin = unit * wide / 2 * 0.6
    x = rng.uniform(min(margin, width / 2), max(width - margin, width / 2))
    y = rng.uniform(min(unit * tall * 0.8, height), height * 1.03)
    region = len(canvas.regions) + 1
    THINGS[kind].draw(canvas, x, y, unit)
    return region, unit


def _draw_obstacle(canvas: Canvas, region: int, unit: float) -> None:
    """Hide a part of the region, at most half of it, behind something that is no class."""
    rng = canvas.rng
    image = canvas.image.copy()
    ids = canvas.ids.copy()
    rows, columns = np.nonzero(ids == region)
    x = rng.choice([columns.min(), columns.max()]) + rng.normal() * unit * 0.1
    draw = THINGS[str(rng.choice(_OBSTACLES))].draw
    y = rows.max() + unit * rng.uniform(0, 0.3)
    draw(canvas, x, y, unit * rng.uniform(0.4, 0.7))
    if (canvas.ids == region).sum() < 0.5 * len(rows):  # it hides too much: take it back
        canvas.image = image
        canvas.ids = ids
