"""Colours and surfaces: value noise, and textures that give each pixel of a shape its colour.

A texture is a function of the pixel centres, ``texture(x (1, w), y (h, 1)) -> (h, w, 3)``. Colours
are RGB 0-255 as floats, before light and camera.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

Texture = Callable[[np.ndarray, np.ndarray], np.ndarray]
Paint = ArrayLike | Texture  # one colour (3,), or a texture
DARK = np.array([34.0, 34.0, 38.0])
LAMP = np.array([330.0, 300.0, 200.0])  # over 255, so that what is lit stays bright at dusk

# Size (height, width) in pixels of the spots in a field.
NOISE_CELLS: dict[str, tuple[float, float]] = {
    'fine': (1, 1),
    'leaf': (3, 3),
    'clump': (9, 9),
    'cloud': (26, 60),
    'ripple': (2, 16),
    'swell': (5, 40),
    'blade': (6, 1.5),
    'crag': (14, 7),
}


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """RGB (3,) in 0-255 of a colour.

    Args:
        hue: in turns, periodic: 0 and 1 are red.
        saturation: clipped to 0-1.
        value: clipped to 0-1.
    """
    saturation = min(max(saturation, 0), 1)
    value = min(max(value, 0), 1)
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))


def any_colour(rng: np.random.Generator) -> np.ndarray:
    """Any colour that cloth or paint may have, from white and black to saturated."""
    return hsv(rng.uniform(0, 1), rng.uniform(0, 0.9), rng.uniform(0.12, 0.95))


def _evaluate(paint: Paint, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The colours of a texture at pixel centres; a plain colour (3,) is returned as it is."""
    if callable(paint):
        return paint(x, y)
    return np.asarray(paint)


def value_noise(
    rng: np.random.Generator, shape: tuple[int, int], cell: tuple[float, float]
) -> np.ndarray:
    """Smooth noise: random values on a coarse grid, interpolated.

    It is periodic, so that a shifted read has no seam.

    Args:
        rng: source of random numbers.
        shape: (H, W) of the field.
        cell: about the distance (height, width) of grid points in pixels.

    Returns:
        (H, W) in -1..1.
    """
    counts = [max(round(size / step), 1) for size, step in zip(shape, cell, strict=True)]
    field = rng.uniform(-1, 1, counts)
    for axis, (size, count) in enumerate(zip(shape, counts, strict=True)):
        # Between two grid points, a smooth step 3t^2 - 2t^3 leads from one value to the next.
        position = np.arange(size) * count / size
        index = position.astype(int)
        step = position - index
        weight = step * step * (3 - 2 * step)
        if axis == 0:
            weight = weight[:, None]
        start = np.take(field, index, axis)
        end = np.take(field, (index + 1) % count, axis)
        field = start * (1 - weight) + end * weight
    return field


class Noise:
    """The noise fields of a scene, and textures made of them; each texture reads them elsewhere.

    Attributes:
        rng: source of random numbers.
        shape: (H, W) of the picture.
        fields: (H, W) in -1..1 by the names in ``NOISE_CELLS``.
    """

    def __init__(self, rng: np.random.Generator, shape: tuple[int, int]):
        self.rng = rng
        self.shape = shape
        self.fields = {name: value_noise(rng, shape, cell) for name, cell in NOISE_CELLS.items()}

    def sampler(self, name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        """A function of the pixel centres that reads a field at a random shift."""
        dx, dy = self.rng.integers(0, 10000, 2)
        height, width = self.shape
        field = self.fields[name]

        def sample(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            rows = (y.astype(int) + dy) % height
            columns = (x.astype(int) + dx) % width
            return field[rows, columns]

        return sample

    def grainy(self, paint: Paint, **amounts: float) -> Texture:
        """Vary the brightness by named fields: paint * (1 + sum of amount * field)."""
        samplers = [(self.sampler(name), amount) for name, amount in amounts.items()]

        def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            gain = 1 + sum(amount * sample(x, y) for sample, amount in samplers)
            return _evaluate(paint, x, y) * np.asarray(gain)[..., None]

        return texture

    def mixed(
        self,
        first: Paint,
        second: Paint,
        field: str,
        threshold: float = 0.0,
        softness: float = 0.3,
    ) -> Texture:
        """``first`` where the field is below the threshold, ``second`` where it is above.

        Args:
            first: paint where the field is low.
            second: paint where the field is high.
            field: name of the field.
            threshold: value of the field where both have the same share.
            softness: range of the field's values over which they are blended.
        """
        sample = self.sampler(field)

        def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            share = np.clip((sample(x, y) - threshold) / softness + 0.5, 0, 1)[..., None]
            low = _evaluate(first, x, y)
            high = _evaluate(second, x, y)
            return low + (high - low) * share

        return texture


def gradient(top: ArrayLike, bottom: ArrayLike, y0: float, y1: float) -> Texture:
    """From the colour ``top`` at height y0 to ``bottom`` at y1 (pixels)."""
    start = np.asarray(top)
    end = np.asarray(bottom)

    def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        share = np.clip((y - y0) / max(y1 - y0, 1e-6), 0, 1)[..., None]
        shape = np.broadcast_shapes(x.shape, y.shape)
        return np.broadcast_to(start + (end - start) * share, (*shape, 3))

    return texture


def striped(
    first: ArrayLike, second: ArrayLike, period: float, share: float, axis: str = 'x'
) -> Texture:
    """Bars of ``second`` on ``first``: planks, blinds, stripes.

    Args:
        first: colour of the ground.
        second: colour of the bars.
        period: distance of the bars in pixels.
        share: of the period that a bar takes.
        axis: 'x' for upright bars, 'y' for level bars.
    """

    def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        along = x if axis == 'x' else y
        is_bar = along % period < share * period
        is_bar = np.broadcast_to(is_bar, np.broadcast_shapes(x.shape, y.shape))
        return np.where(is_bar[..., None], second, first)

    return texture


def tiled(
    slab: ArrayLike, joint: ArrayLike, horizon: float, vanishing_x: float, size: float
) -> Texture:
    """Square slabs on the ground in perspective: row y of the picture has depth 1 / (y - horizon).

    Args:
        slab: colour of the slabs.
        joint: colour of the joints.
        horizon: row of the horizon.
        vanishing_x: column where the joints that lead away meet at the horizon.
        size: side of a slab in heights of the camera.
    """

    def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        depth = 1 / np.maximum(y - horizon, 1)
        row = 60 * depth / size
        column = (x - vanishing_x) * depth / size
        # A joint is about one pixel wide everywhere, so it takes a larger part of a far slab.
        across = row % 1 < np.minimum(78 * depth * depth / size, 0.5)
        along = column % 1 < np.minimum(depth / size, 0.5)
        return np.where((across | along)[..., None], joint, slab)

    return texture


def bricks(
    brick: ArrayLike, mortar: ArrayLike, height: float = 5.0, width: float = 11.0
) -> Texture:
    """A brick wall: every second course is shifted by half a brick; sizes in pixels."""

    def texture(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        course = np.floor(y / height)
        shift = course % 2 * width / 2
        is_mortar = (y % height < 1) | ((x + shift) % width < 1)
        return np.where(is_mortar[..., None], mortar, brick)

    return texture
