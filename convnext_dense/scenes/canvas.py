"""The picture being drawn: colours, and for each pixel the number of the region that is seen there."""

from __future__ import annotations

import numpy as np

from convnext_dense.scenes import shapes
from convnext_dense.scenes.textures import Noise, Texture


class Canvas:
    """An (H, W) picture drawn back to front; what is painted later hides what was painted before.

    Attributes:
        image: (H, W, 3) RGB 0-255 as floats, before light and camera.
        ids: (H, W) number of the region seen at each pixel; 0 = none.
        regions: name of each region and whether it is a countable thing; region ``i`` has number ``i + 1``.
        sun: where the light comes from: -1 from the left, 1 from the right.
        haze: RGB (3,) towards which far things fade.
    """

    def __init__(
        self, height: int, width: int, rng: np.random.Generator, sun: float = 1.0, haze=None
    ):
        self.shape, self.rng, self.sun = (height, width), rng, sun
        self.haze = np.array([200.0, 210.0, 220.0]) if haze is None else np.asarray(haze)
        self.image = np.zeros((height, width, 3))
        self.ids = np.zeros((height, width), dtype=np.int32)
        self.regions: list[tuple[str, bool]] = []
        self.noise = Noise(rng, self.shape)

    def begin(self, name: str, thing: bool = False) -> int:
        """Start a region: what is painted from now on belongs to it. Returns its number."""
        self.regions.append((name, thing))
        return len(self.regions)

    def paint(self, shape, colour: np.ndarray | Texture, label: bool = True) -> None:
        """Paint a mask and window as ``shapes`` makes them, None being nothing; ``label=False`` keeps the regions."""
        if shape is None:
            return
        mask, window = shape
        if callable(colour):
            colour = colour(*shapes.centres(window))[mask]
        self.image[window][mask] = colour
        if label:
            self.ids[window][mask] = len(self.regions)

    def polygon(self, points, colour, label: bool = True) -> None:
        self.paint(shapes.polygon_mask(points, self.shape), colour, label)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour, label: bool = True) -> None:
        self.paint(shapes.ellipse_mask(x, y, rx, ry, self.shape), colour, label)

    def box(self, x0: float, y0: float, x1: float, y1: float, colour, label: bool = True) -> None:
        self.polygon(shapes.box(x0, y0, x1, y1), colour, label)

    def mask(self, mask: np.ndarray, colour) -> None:
        """Paint a mask (H, W) of the whole frame."""
        self.paint((mask, (slice(0, self.shape[0]), slice(0, self.shape[1]))), colour)

    def shadow(self, x: float, y: float, rx: float, ry: float, strength: float = 0.45) -> None:
        """Darken the ground in an ellipse thrown away from the sun; the regions stay as they are."""
        shape = shapes.ellipse_mask(x - self.sun * rx * 0.35, y, rx, ry, self.shape)
        if shape is not None:
            mask, window = shape
            self.image[window][mask] *= 1 - strength
