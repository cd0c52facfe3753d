"""Outlines and hard-edged masks, rasterised with numpy alone so that every library version gives the same labels.

Points are (x, y) in pixels, x right and y down. The pixel in row i and column j has its centre at (j + 0.5, i + 0.5)
and belongs to a shape when its centre does. A mask comes with its window: the slices of the frame that it covers.
"""

from __future__ import annotations

import numpy as np

Window = tuple[slice, slice]


def _window(low: np.ndarray, high: np.ndarray, shape: tuple[int, int]) -> Window | None:
    """The part of an (H, W) frame that holds the pixel centres between the corners ``low`` and ``high``, (x, y)."""
    left, top = np.maximum(np.floor(low - 0.5), 0).astype(int)
    right, bottom = np.minimum(np.ceil(high + 0.5), (shape[1], shape[0])).astype(int)
    return (slice(top, bottom), slice(left, right)) if top < bottom and left < right else None


def centres(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """x (1, w) and y (h, 1) of the pixel centres of a window."""
    rows, columns = window
    return np.arange(columns.start, columns.stop)[None] + 0.5, np.arange(rows.start, rows.stop)[
        :, None
    ] + 0.5


def polygon_mask(points, shape: tuple[int, int]) -> tuple[np.ndarray, Window] | None:
    """Even-odd interior of the closed polygon ``points`` (N, 2) in an (H, W) frame; None when outside of it."""
    points = np.asarray(points, dtype=np.float64)
    window = _window(points.min(0), points.max(0), shape)
    if window is None:
        return None
    x, y = centres(window)
    inside = np.zeros((y.shape[0], x.shape[1]), dtype=bool)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0)):
        crossed = np.flatnonzero((y0 <= y[:, 0]) != (y1 <= y[:, 0]))
        if len(crossed):
            inside[crossed] ^= x < x0 + (y[crossed] - y0) * ((x1 - x0) / (y1 - y0))
    return inside, window


def ellipse_mask(
    x: float, y: float, rx: float, ry: float, shape: tuple[int, int]
) -> tuple[np.ndarray, Window] | None:
    """Interior of the axis-aligned ellipse with centre (x, y) and radii (rx, ry); None when outside of the frame."""
    window = _window(np.array([x - rx, y - ry]), np.array([x + rx, y + ry]), shape)
    if window is None:
        return None
    px, py = centres(window)
    return ((px - x) / rx) ** 2 + ((py - y) / ry) ** 2 <= 1, window


def box(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    """Corners of the rectangle from (x0, y0) to (x1, y1)."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def limb(start, end, width: float, end_width: float | None = None) -> np.ndarray:
    """Corners (4, 2) of a bar from ``start`` to ``end`` that is ``width`` thick, and ``end_width`` at its end."""
    start, end = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    along = (end - start) / max(np.hypot(*(end - start)), 1e-6)
    across = np.array([-along[1], along[0]]) / 2
    end_width = width if end_width is None else end_width
    near, far = across * width, across * end_width
    return np.stack([start + near, end + far, end - far, start - near])


def blob(
    rng: np.random.Generator, x: float, y: float, rx: float, ry: float, roughness: float = 0.15
) -> np.ndarray:
    """Uneven round outline (28, 2) about (x, y): an ellipse whose radii vary by the fraction ``roughness``."""
    angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    radius = 1 + roughness * rng.uniform(-1, 1, len(angles))
    return np.stack([x + rx * radius * np.cos(angles), y + ry * radius * np.sin(angles)], axis=1)


def ridge(
    rng: np.random.Generator, width: int, roughness: float = 0.5, octaves: int = 5
) -> np.ndarray:
    """Heights (width,) in 0..1 of a mountain skyline: midpoints displaced by halving amounts."""
    heights = rng.uniform(0, 1, 4)
    for octave in range(octaves):
        middle = (heights[1:] + heights[:-1]) / 2 + rng.uniform(
            -0.5, 0.5, len(heights) - 1
        ) * roughness ** (octave + 1)
        heights = np.insert(heights, np.arange(1, len(heights)), middle)
    heights = np.interp(np.linspace(0, len(heights) - 1, width), np.arange(len(heights)), heights)
    return (heights - heights.min()) / max(np.ptp(heights), 1e-6)
