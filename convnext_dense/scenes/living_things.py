"""Living things: people, dogs, trees, plants.

Each ``draw_*(canvas, x, y, unit)`` draws one that stands at (x, y); ``unit`` is the height of a
grown person at that place in pixels, and all sizes are given in it.
"""

from __future__ import annotations

import numpy as np

from convnext_dense.scenes.canvas import Canvas
from convnext_dense.scenes.shapes import blob, limb
from convnext_dense.scenes.textures import DARK, Texture, hsv

_CONIFER_TIERS = 4
_CROWN_CLUMPS = 7
_PLANT_LEAVES = 11
_PLANT_FLOWERS = 7


def draw_person(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A person from the front, with legs and arms apart."""
    rng = canvas.rng
    height = unit * rng.uniform(1.0, 1.2)
    stride = height * rng.uniform(0.02, 0.13)
    swing = height * rng.uniform(0.05, 0.17)  # of the arms, sideways
    shirt = hsv(rng.uniform(0, 1), rng.uniform(0.35, 0.9), rng.uniform(0.4, 0.95))
    trousers = hsv(rng.uniform(0.55, 0.7), rng.uniform(0.1, 0.6), rng.uniform(0.12, 0.45))
    skin = hsv(rng.uniform(0.04, 0.08), rng.uniform(0.3, 0.6), rng.uniform(0.35, 0.95))
    hip = y - height * 0.47
    neck = y - height * 0.84
    wide = height * rng.uniform(0.15, 0.19)  # half of the shoulders' width
    canvas.shadow(x, y, height * 0.25, height * 0.05)
    canvas.begin('person', thing=True)
    for side in (-1, 1):
        # Leg and shoe, then arm and hand.
        foot_x = x + side * (stride + wide * 0.5)
        thigh = (x + side * wide * 0.45, hip)
        leg = limb(thigh, (foot_x, y), height * 0.16, height * 0.13)
        canvas.polygon(leg, trousers * (1 - 0.12 * side))
        shoe = limb((foot_x - height * 0.02, y), (foot_x + height * 0.07, y), height * 0.05)
        canvas.polygon(shoe, DARK)
        hand = (x + side * (wide + swing), hip + height * 0.03)
        shoulder = (x + side * wide * 0.85, neck + height * 0.04)
        canvas.polygon(limb(shoulder, hand, height * 0.12, height * 0.09), shirt * 0.85)
        canvas.ellipse(*hand, height * 0.04, height * 0.04, skin)

    belt = hip + height * 0.03
    torso = [(x - wide, neck), (x + wide, neck), (x + wide * 0.9, belt), (x - wide * 0.9, belt)]
    canvas.polygon(torso, canvas.noise.grainy(shirt, clump=0.15, fine=0.05))
    canvas.ellipse(x, y - height * 0.92, height * 0.09, height * 0.1, skin)  # head
    hair = hsv(rng.uniform(0.02, 0.12), rng.uniform(0.1, 0.7), rng.uniform(0.08, 0.6))
    canvas.ellipse(x, y - height * 0.97, height * 0.095, height * 0.06, hair)


def draw_dog(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A dog from the side, its tail up."""
    rng = canvas.rng
    facing = rng.choice([-1, 1])
    size = unit * rng.uniform(0.5, 0.65)
    coat = hsv(rng.uniform(0.03, 0.12), rng.uniform(0, 0.65), rng.uniform(0.1, 0.9))
    fur = canvas.noise.grainy(coat, leaf=0.2, fine=0.1)

    def place(px: float, py: float) -> tuple[float, float]:
        """Pixels of a point given in sizes from the middle to the front, and above the ground."""
        return x + facing * size * px, y - size * py

    canvas.shadow(x, y, size * 0.7, unit * 0.05)
    canvas.begin('dog', thing=True)
    tail = limb(place(-0.45, 0.6), place(-0.8, 0.95), size * 0.12, size * 0.05)
    canvas.polygon(tail, fur)
    for leg_x in (-0.4, -0.25, 0.25, 0.4):
        leg = limb(place(leg_x, 0.45), place(leg_x, 0), size * 0.14, size * 0.11)
        canvas.polygon(leg, coat * 0.85)
    canvas.ellipse(*place(0, 0.55), size * 0.52, size * 0.22, fur)  # body
    neck = limb(place(0.35, 0.6), place(0.55, 0.9), size * 0.26, size * 0.24)
    canvas.polygon(neck, fur)
    canvas.ellipse(*place(0.58, 0.95), size * 0.2, size * 0.18, fur)  # head
    canvas.ellipse(*place(0.76, 0.89), size * 0.13, size * 0.09, coat * 0.8)  # muzzle
    ear = [place(0.42, 1.0), place(0.5, 1.25), place(0.58, 1.08)]
    canvas.polygon(ear, coat * 0.55)
    canvas.ellipse(*place(0.64, 1.0), size * 0.03, size * 0.03, np.zeros(3))  # eye


def draw_tree(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A round crown of leaf clumps, or the tiers of a conifer, on a trunk."""
    rng = canvas.rng
    noise = canvas.noise
    height = unit * rng.uniform(1.7, 3.0)
    bark = hsv(rng.uniform(0.04, 0.1), rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.5))
    is_green = rng.random() < 0.75
    hue = rng.uniform(0.24, 0.38) if is_green else rng.uniform(0.0, 0.1)  # or in autumn
    leaf = hsv(hue, rng.uniform(0.45, 0.8), rng.uniform(0.25, 0.55))
    canvas.shadow(x, y, height * 0.25, unit * 0.1)
    canvas.begin('tree', thing=True)
    trunk = limb((x, y), (x, y - height * 0.5), height * 0.09, height * 0.06)
    canvas.polygon(trunk, noise.grainy(bark, blade=0.4))
    light = noise.grainy(leaf * 1.25, leaf=0.3)
    dark = leaf * 0.55
    if rng.random() < 0.35:
        _draw_tiers(canvas, x, y, height, light, dark)
    else:
        _draw_crown(canvas, x, y, height, light, dark)


def _draw_tiers(
    canvas: Canvas, x: float, y: float, height: float, light: Texture, dark: np.ndarray
) -> None:
    """Triangles that become narrower towards the top."""
    for tier in range(_CONIFER_TIERS):
        wide = height * (0.27 - 0.05 * tier)
        low = y - height * (0.16 + 0.2 * tier)
        outline = [(x - wide, low), (x, low - height * 0.34), (x + wide, low)]
        canvas.polygon(outline, canvas.noise.mixed(light, dark, 'leaf', 0.1 * canvas.sun, 0.5))


def _draw_crown(
    canvas: Canvas, x: float, y: float, height: float, light: Texture, dark: np.ndarray
) -> None:
    """Clumps of leaves around the top of the trunk."""
    rng = canvas.rng
    for _ in range(_CROWN_CLUMPS):
        clump_x = x + height * rng.uniform(-0.2, 0.2)
        clump_y = y - height * rng.uniform(0.5, 0.86)
        radius = height * rng.uniform(0.13, 0.2)
        # The higher and the nearer to the sun a clump is, the brighter.
        lower = (clump_y - y + height * 0.68) / -height
        sunward = canvas.sun * (clump_x - x) / height
        threshold = 0.1 + 1.2 * lower + 0.8 * sunward
        outline = blob(rng, clump_x, clump_y, radius, radius * 0.9, 0.12)
        canvas.polygon(outline, canvas.noise.mixed(light, dark, 'leaf', threshold, 0.5))


def draw_plant(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A bush in a pot or in the ground: pointed leaves that fan out, sometimes with flowers."""
    rng = canvas.rng
    height = unit * rng.uniform(0.6, 0.95)
    leaf = hsv(rng.uniform(0.22, 0.45), rng.uniform(0.45, 0.85), rng.uniform(0.5, 0.8))
    potted = rng.random() < 0.5
    foot = y - height * 0.3 if potted else y
    canvas.shadow(x, y, height * 0.4, unit * 0.06)
    canvas.begin('plant', thing=True)
    angles = np.linspace(-1.25, 1.25, _PLANT_LEAVES)[rng.permutation(_PLANT_LEAVES)]
    foot_point = np.array([x, foot])
    for number, angle in enumerate(angles):
        # A diamond from the foot to the tip, widest a little below its middle.
        length = height * rng.uniform(0.65, 0.9)
        tip = np.array([x + np.sin(angle) * length * 0.9, foot - np.cos(angle) * length])
        middle = foot_point * 0.45 + tip * 0.55
        across = np.array([-np.cos(angle), -np.sin(angle)]) * (height * 0.11)
        diamond = np.stack([foot_point, middle + across, tip, middle - across])
        canvas.polygon(diamond, leaf * (0.6 + 0.07 * number))
    if rng.random() < 0.5:
        _draw_flowers(canvas, x, foot, height)
    if potted:
        _draw_pot(canvas, x, y, foot - height * 0.02, height)


def _draw_flowers(canvas: Canvas, x: float, foot: float, height: float) -> None:
    rng = canvas.rng
    colour = hsv(rng.uniform(-0.3, 0.17), rng.uniform(0.3, 0.9), 0.95)
    for _ in range(_PLANT_FLOWERS):
        flower_x = x + height * rng.uniform(-0.45, 0.45)
        flower_y = foot - height * rng.uniform(0.25, 0.7)
        canvas.ellipse(flower_x, flower_y, height * 0.065, height * 0.065, colour)


def _draw_pot(canvas: Canvas, x: float, y: float, top: float, height: float) -> None:
    rng = canvas.rng
    colour = hsv(rng.uniform(0, 1), rng.uniform(0.1, 0.6), rng.uniform(0.35, 0.85))
    outline = [
        (x - height * 0.28, top),
        (x + height * 0.28, top),
        (x + height * 0.2, y),
        (x - height * 0.2, y),
    ]
    canvas.polygon(outline, canvas.noise.grainy(colour, fine=0.05))
