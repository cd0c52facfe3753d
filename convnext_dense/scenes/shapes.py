"""Outlines and hard-edged masks, made with numpy only: any library version gives the same labels.

Points are (x, y) in pixels, x to the right and y downwards. The pixel in row i and column j has its
centre at (j + 0.5, i + 0.5) and belongs to a shape if its centre does. A mask comes with its
window: the slices of the frame that it covers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

Window = tuple[slice, slice]  # rows, columns
Shape = tuple[np.ndarray, Window]  # mask (h, w) bool and the window that it covers


def _window(low: np.ndarray, high: np.ndarray, shape: tuple[int, int]) -> Window | None:
    """The pixels of an (H, W) frame between the corners ``low`` and ``high``, (x, y)."""
    left, top = np.maximum(np.floor(low - 0.5), 0).astype(int)
    right, bottom = np.minimum(np.ceil(high + 0.5), (shape[1], shape[0])).astype(int)
    if top >= bottom or left >= right:
        return None
    return slice(top, bottom), slice(left, right)


def centres(window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres of a window: x (1, w) and y (h, 1)."""
    rows, columns = window
    x = np.arange(columns.start, columns.stop)[None, :] + 0.5
    y = np.arange(rows.start, rows.stop)[:, None] + 0.5
    return x, y


def polygon_mask(points: ArrayLike, shape: tuple[int, int]) -> Shape | None:
    """Interior, by the even-odd rule, of a closed polygon.

    Args:
        points: (N, 2) corners.
        shape: (H, W) of the frame.

    Returns:
        Mask and window; None if the polygon is outside of the frame.
    """
    corners = np.asarray(points, dtype=np.float64)
    window = _window(corners.min(0), corners.max(0), shape)
    if window is None:
        return None
    x, y = centres(window)
    inside = np.zeros((y.shape[0], x.shape[1]), dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        # Rows whose line of centres crosses this side: pixels to the left of it change sides.
        crossed = np.flatnonzero((y0 <= y[:, 0]) != (y1 <= y[:, 0]))
        if len(crossed):
            crossing = x0 + (y[crossed] - y0) * ((x1 - x0) / (y1 - y0))
            inside[crossed] ^= x < crossing
    return inside, window


def ellipse_mask(x: float, y: float, rx: float, ry: float, shape: tuple[int, int]) -> Shape | None:
    """Interior of the upright ellipse with centre (x, y) and radii (rx, ry); None if outside."""
    window = _window(np.array([x - rx, y - ry]), np.array([x + rx, y + ry]), shape)
    if window is None:
        return None
    pixel_x, pixel_y = centres(window)
    inside = ((pixel_x - x) / rx) ** 2 + ((pixel_y - y) / ry) ** 2 <= 1
    return inside, window


def box(x0: float, y0: float, x1: float, y1: float) -> list[tuple[float, float]]:
    """Corners of the rectangle from (x0, y0) to (x1, y1)."""
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def limb(
    start: ArrayLike, end: ArrayLike, width: float, end_width: float | None = None
) -> np.ndarray:
    """Corners (4, 2) of a bar between two points (x, y).

    Args:
        start: middle of its first side.
        end: middle of its last side.
        width: of the bar at its start, in pixels.
        end_width: of the bar at its end; None: the same.
    """
    start = np.asarray(start, dtype=float)
    end = np.asarray(end, dtype=float)
    along = (end - start) / max(np.hypot(*(end - start)), 1e-6)
    across = np.array([-along[1], along[0]]) / 2
    if end_width is None:
        end_width = width
    near = across * width
    far = across * end_width
    return np.stack([start + near, end + far, end - far, start - near])


def blob(
    rng: np.random.Generator, x: float, y: float, rx: float, ry: float, roughness: float = 0.15
) -> np.ndarray:
    """Uneven outline (28, 2) around (x, y): an ellipse whose radii vary by ``roughness``."""
    angles = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    radius = 1 + roughness * rng.uniform(-1, 1, len(angles))
    xs = x + rx * radius * np.cos(angles)
    ys = y + ry * radius * np.sin(angles)
    return np.stack([xs, ys], axis=1)


def ridge(
    rng: np.random.Generator, width: int, roughness: float = 0.5, octaves: int = 5
) -> np.ndarray:
    """Skyline of mountains by midpoint displacement.

    Args:
        rng: source of random numbers.
        width: number of columns.
        roughness: factor from the displacements of one octave to those of the next.
        octaves: number of times that the points are doubled.

    Returns:
        Heights (width,) in 0..1.
    """
    heights = rng.uniform(0, 1, 4)
    for octave in range(octaves):
        displacement = rng.uniform(-0.5, 0.5, len(heights) - 1) * roughness ** (octave + 1)
        middle = (heights[1:] + heights[:-1]) / 2 + displacement
        heights = np.insert(heights, np.arange(1, len(heights)), middle)
    positions = np.linspace(0, len(heights) - 1, width)
    skyline = np.interp(positions, np.arange(len(heights)), heights)
    return (skyline - skyline.min()) / max(np.ptp(skyline), 1e-6)
