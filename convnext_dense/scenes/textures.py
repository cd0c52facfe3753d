"""Colours and surfaces: value noise, and textures that give each pixel of a shape its colour.

A texture is a function of the pixel centres, ``texture(x (1, w), y (h, 1)) -> (h, w, 3)``, in RGB 0-255 as floats.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np

Texture = Callable[[np.ndarray, np.ndarray], np.ndarray]
DARK = np.array([34.0, 34.0, 38.0])
LAMP = np.array([330.0, 300.0, 200.0])  # over 255: what shines by itself stays bright at dusk


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """RGB (3,) in 0-255 of a colour whose hue (in turns, periodic), saturation and value are given in 0-1."""
    return 255 * np.array(
        colorsys.hsv_to_rgb(hue % 1, min(max(saturation, 0), 1), min(max(value, 0), 1))
    )


def any_colour(rng: np.random.Generator) -> np.ndarray:
    """Any colour that cloth or paint may have, from white and black to saturated."""
    return hsv(rng.uniform(0, 1), rng.uniform(0, 0.9), rng.uniform(0.12, 0.95))


def value_noise(
    rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float]
) -> np.ndarray:
    """Smooth noise (H, W) in -1..1: random values on a grid of about ``cell`` (height, width) pixels, interpolated.

    It is periodic, so that a shifted read has no seam.
    """
    counts = [max(round(size / step), 1) for size, step in zip(shape, cell)]
    grid = rng.uniform(-1, 1, counts)
    for axis, (size, count) in enumerate(zip(shape, counts)):
        position = np.arange(size) * count / size
        index = position.astype(int)
        weight = position - index
        weight = weight * weight * (3 - 2 * weight)
        weight = weight[:, None] if axis == 0 else weight
        grid = (
            np.take(grid, index, axis) * (1 - weight)
            + np.take(grid, (index + 1) % count, axis) * weight
        )
    return grid


class Noise:
    """The noise fields of a scene, (H, W) in -1..1, and textures made of them; each texture reads them elsewhere."""

    CELLS = dict(
        fine=(1, 1),
        leaf=(3, 3),
        clump=(9, 9),
        cloud=(26, 60),
        ripple=(2, 16),
        swell=(5, 40),
        blade=(6, 1.5),
        crag=(14, 7),
    )

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int]):
        self.rng, self.shape = rng, shape
        self.fields = {name: value_noise(rng, shape, cell) for name, cell in self.CELLS.items()}

    def sampler(self, name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """A function of the pixel centres that reads one field at a random shift."""
        dx, dy = self.rng.integers(0, 10000, 2)
        field, (height, width) = self.fields[name], self.shape
        return lambda x, y: field[(y.astype(int) + dy) % height, (x.astype(int) + dx) % width]

    def grainy(self, colour, **amounts: float) -> Texture:
        """``colour`` (an RGB or a texture), brightness varied by the named fields: c * (1 + sum of amount * field)."""
        samplers = [(self.sampler(name), amount) for name, amount in amounts.items()]

        def texture(x, y):
            gain = 1 + sum(amount * sample(x, y) for sample, amount in samplers)
            return (colour(x, y) if callable(colour) else np.asarray(colour)) * gain[..., None]

        return texture

    def mixed(
        self, first, second, field: str, threshold: float = 0.0, softness: float = 0.3
    ) -> Texture:
        """``first`` where the field is under the threshold, ``second`` where it is over, blended over ``softness``."""
        sample = self.sampler(field)

        def texture(x, y):
            share = np.clip((sample(x, y) - threshold) / softness + 0.5, 0, 1)[..., None]
            a, b = (
                colour(x, y) if callable(colour) else np.asarray(colour)
                for colour in (first, second)
            )
            return a + (b - a) * share

        return texture


def gradient(top, bottom, y0: float, y1: float) -> Texture:
    """From the colour ``top`` at height y0 to ``bottom`` at y1 (pixels)."""
    top, bottom = np.asarray(top), np.asarray(bottom)

    def texture(x, y):
        share = np.clip((y - y0) / max(y1 - y0, 1e-6), 0, 1)[..., None]
        return np.broadcast_to(
            top + (bottom - top) * share, (*np.broadcast_shapes(x.shape, y.shape), 3)
        )

    return texture


def striped(first, second, period: float, share: float, axis: str = 'x') -> Texture:
    """Bars of ``second``, ``share`` of each ``period`` pixels along the axis, on ``first``: planks, blinds, stripes."""
    first, second = np.asarray(first), np.asarray(second)

    def texture(x, y):
        along = np.broadcast_to(x if axis == 'x' else y, np.broadcast_shapes(x.shape, y.shape))
        return np.where((along % period < share * period)[..., None], second, first)

    return texture


def tiled(slab, joint, horizon: float, vanishing_x: float, size: float) -> Texture:
    """Square slabs on the ground in perspective: a row y lies at depth 1 / (y - horizon). ``size``: camera heights."""
    slab, joint = np.asarray(slab), np.asarray(joint)

    def texture(x, y):
        depth = 1 / np.maximum(y - horizon, 1)
        row, column = 60 * depth / size, (x - vanishing_x) * depth / size
        # a joint is about one pixel wide wherever it is, so it is thicker in slabs that are far away
        line = row % 1 < np.minimum(78 * depth * depth / size, 0.5)
        line = line | (column % 1 < np.minimum(depth / size, 0.5))
        return np.where(line[..., None], joint, slab)

    return texture


def bricks(brick, mortar, height: float = 5.0, width: float = 11.0) -> Texture:
    """A brick wall: every second course is shifted by half a brick; sizes in pixels."""
    brick, mortar = np.asarray(brick), np.asarray(mortar)

    def texture(x, y):
        course = np.floor(y / height)
        line = (y % height < 1) | ((x + course % 2 * width / 2) % width < 1)
        return np.where(line[..., None], mortar, brick)

    return texture
