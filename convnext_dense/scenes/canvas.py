"""The picture being drawn: colours, and the number of the region that is seen at each pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from convnext_dense.scenes import shapes
from convnext_dense.scenes.textures import Noise, Paint

_GREY_HAZE = (200.0, 210.0, 220.0)


class Canvas:
    """An (H, W) picture drawn from back to front: later paint hides earlier paint.

    Args:
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        rng: source of all random numbers.
        sun: where the light comes from: -1 from the left, 1 from the right.
        haze: RGB (3,) towards which far things fade.

    Attributes:
        shape: (H, W).
        image: (H, W, 3) RGB 0-255 as floats, before light and camera.
        ids: (H, W) number of the region seen at each pixel; 0 = none.
        regions: name of each region and whether it is a countable thing; region ``i`` has number
            ``i + 1``.
        noise: the noise fields that textures read.
    """

    def __init__(
        self,
        height: int,
        width: int,
        rng: np.random.Generator,
        sun: float = 1.0,
        haze: ArrayLike = _GREY_HAZE,
    ):
        self.shape = (height, width)
        self.rng = rng
        self.sun = sun
        self.haze = np.asarray(haze)
        self.image = np.zeros((height, width, 3))
        self.ids = np.zeros((height, width), dtype=np.int32)
        self.regions: list[tuple[str, bool]] = []
        self.noise = Noise(rng, self.shape)

    def begin(self, name: str, thing: bool = False) -> int:
        """Start a region: what is painted from now on belongs to it. Returns its number."""
        self.regions.append((name, thing))
        return len(self.regions)

    def paint(self, shape: shapes.Shape | None, paint: Paint) -> None:
        """Paint a shape of ``shapes``; None is a shape outside of the picture."""
        if shape is None:
            return
        mask, window = shape
        if callable(paint):
            x, y = shapes.centres(window)
            self.image[window][mask] = paint(x, y)[mask]
        else:
            self.image[window][mask] = paint
        self.ids[window][mask] = len(self.regions)

    def polygon(self, points: ArrayLike, paint: Paint) -> None:
        """Paint a closed polygon (N, 2)."""
        self.paint(shapes.polygon_mask(points, self.shape), paint)

    def ellipse(self, x: float, y: float, rx: float, ry: float, paint: Paint) -> None:
        """Paint an upright ellipse with centre (x, y) and radii (rx, ry)."""
        self.paint(shapes.ellipse_mask(x, y, rx, ry, self.shape), paint)

    def box(self, x0: float, y0: float, x1: float, y1: float, paint: Paint) -> None:
        """Paint the rectangle from (x0, y0) to (x1, y1)."""
        self.polygon(shapes.box(x0, y0, x1, y1), paint)

    def mask(self, mask: np.ndarray, paint: Paint) -> None:
        """Paint a mask (H, W) bool of the whole picture."""
        height, width = self.shape
        self.paint((mask, (slice(0, height), slice(0, width))), paint)

    def shadow(self, x: float, y: float, rx: float, ry: float, strength: float = 0.45) -> None:
        """Darken the ground in an ellipse on the side away from the sun; no region changes."""
        shape = shapes.ellipse_mask(x - self.sun * rx * 0.35, y, rx, ry, self.shape)
        if shape is not None:
            mask, window = shape
            self.image[window][mask] *= 1 - strength
