"""Light and camera: time of day, exposure, white balance, blur, grain and rounding to uint8."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convnext_dense.scenes.textures import hsv


@dataclass(frozen=True)
class Light:
    """A time of day; the sky's hue, saturation and value are ranges (low, high).

    Attributes:
        gain: light that falls on everything, (R, G, B).
        hue, saturation, value: of the sky at its top.
        low_hue: hue of the sky at the horizon, where it is brighter and paler.
        night: whether windows and lamps are lit.
    """

    gain: tuple[float, float, float]
    hue: tuple[float, float]
    saturation: tuple[float, float]
    value: tuple[float, float]
    low_hue: tuple[float, float]
    night: bool = False


LIGHTS = {
    'day': Light((1.0, 1.0, 1.0), (0.52, 0.62), (0.25, 0.75), (0.75, 1.0), (0.5, 0.6)),
    'overcast': Light((0.86, 0.9, 0.95), (0.5, 0.75), (0.0, 0.12), (0.6, 0.9), (0.5, 0.7)),
    'golden': Light((1.08, 0.94, 0.76), (0.5, 0.64), (0.1, 0.5), (0.65, 0.9), (0.04, 0.13)),
    'dusk': Light(
        (0.74, 0.66, 0.8), (0.6, 0.82), (0.35, 0.65), (0.5, 0.75), (-0.08, 0.09), night=True
    ),
}


_LIGHT_SHARES = (0.5, 0.2, 0.15, 0.15)  # of the pictures, in the order of LIGHTS


def choose_light(rng: np.random.Generator) -> Light:
    """A random time of day, in half of the pictures bright day."""
    index = rng.choice(len(LIGHTS), p=_LIGHT_SHARES)
    return list(LIGHTS.values())[index]


def sky_colours(light: Light, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """RGB of the sky at its top and at the horizon; the latter is also the colour of haze."""
    saturation = rng.uniform(*light.saturation)
    value = rng.uniform(*light.value)
    top = hsv(rng.uniform(*light.hue), saturation, value)
    horizon_hue = rng.uniform(*light.low_hue)
    horizon = hsv(horizon_hue, saturation * rng.uniform(0.3, 0.8), value * 1.1)
    return top, horizon


def _blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of an (H, W, 3) image with 5 taps a side; pixels at the edge are repeated."""
    taps = np.exp(-0.5 * (np.arange(-2, 3) / sigma) ** 2)
    taps /= taps.sum()
    for axis in (0, 1):
        size = image.shape[axis]
        pad = [(0, 0), (0, 0), (0, 0)]
        pad[axis] = (2, 2)
        padded = np.pad(image, pad, mode='edge')
        blurred = np.zeros_like(image)
        for offset, tap in enumerate(taps):
            blurred = blurred + tap * np.take(padded, np.arange(offset, offset + size), axis)
        image = blurred
    return image


def photograph(image: np.ndarray, light: Light, rng: np.random.Generator) -> np.ndarray:
    """Take a picture as a camera does in this light.

    Exposure 0.82-1.15, white balance +-5 % for each channel, vignetting up to 20 %, blur of sigma
    0.35-0.7 px (it softens the hard outlines too; the labels keep them), noise of sigma 2-5 levels.

    Args:
        image: (H, W, 3) floats, 0-255.
        light: the time of day.
        rng: source of random numbers.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    gain = np.array(light.gain) * rng.uniform(0.82, 1.15) * rng.uniform(0.95, 1.05, 3)

    # Vignetting: darker by the square of the distance from the centre, which is at (0, 0).
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    vignette = 1 - rng.uniform(0, 0.1) * (x * x + y * y)
    image = _blur(image * gain * vignette[..., None], rng.uniform(0.35, 0.7))

    # Grain: partly of each channel, mostly of all three together.
    sigma = rng.uniform(2, 5)
    colour_noise = rng.standard_normal(image.shape) * 0.6
    grey_noise = rng.standard_normal((height, width, 1)) * 0.8
    image = image + sigma * (colour_noise + grey_noise)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
