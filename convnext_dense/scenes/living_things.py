"""Living things: people, dogs, trees, plants.

Each ``draw_*(canvas, x, y, unit)`` draws one whose foot is at (x, y); ``unit`` is the height of a grown person at that
place, in pixels, and everything else is measured in it.
"""

from __future__ import annotations

import numpy as np

from convnext_dense.scenes.canvas import Canvas
from convnext_dense.scenes.shapes import blob, limb
from convnext_dense.scenes.textures import DARK, hsv


def draw_person(canvas: Canvas, x: float, y: float, unit: float) -> None:
    rng, height = canvas.rng, unit * canvas.rng.uniform(1.0, 1.2)
    stride, swing = height * rng.uniform(0.02, 0.13), height * rng.uniform(0.05, 0.17)
    shirt = hsv(rng.uniform(0, 1), rng.uniform(0.35, 0.9), rng.uniform(0.4, 0.95))
    trousers = hsv(rng.uniform(0.55, 0.7), rng.uniform(0.1, 0.6), rng.uniform(0.12, 0.45))
    skin = hsv(rng.uniform(0.04, 0.08), rng.uniform(0.3, 0.6), rng.uniform(0.35, 0.95))
    hip, neck, wide = y - height * 0.47, y - height * 0.84, height * rng.uniform(0.15, 0.19)
    canvas.shadow(x, y, height * 0.25, height * 0.05)
    canvas.begin('person', thing=True)
    for side in (-1, 1):
        foot = (x + side * (stride + wide * 0.5), y)
        thigh = (x + side * wide * 0.45, hip)
        canvas.polygon(
            limb(thigh, foot, height * 0.16, height * 0.13), trousers * (1 - 0.12 * side)
        )
        canvas.polygon(
            limb((foot[0] - height * 0.02, y), (foot[0] + height * 0.07, y), height * 0.05), DARK
        )
        hand = (x + side * (wide + swing), hip + height * 0.03)
        shoulder = (x + side * wide * 0.85, neck + height * 0.04)
        canvas.polygon(limb(shoulder, hand, height * 0.12, height * 0.09), shirt * 0.85)
        canvas.ellipse(*hand, height * 0.04, height * 0.04, skin)
    belt = hip + height * 0.03
    torso = [(x - wide, neck), (x + wide, neck), (x + wide * 0.9, belt), (x - wide * 0.9, belt)]
    canvas.polygon(torso, canvas.noise.grainy(shirt, clump=0.15, fine=0.05))
    canvas.ellipse(x, y - height * 0.92, height * 0.09, height * 0.1, skin)
    hair = hsv(rng.uniform(0.02, 0.12), rng.uniform(0.1, 0.7), rng.uniform(0.08, 0.6))
    canvas.ellipse(x, y - height * 0.97, height * 0.095, height * 0.06, hair)


def draw_dog(canvas: Canvas, x: float, y: float, unit: float) -> None:
    rng, facing, size = canvas.rng, canvas.rng.choice([-1, 1]), unit * canvas.rng.uniform(0.5, 0.65)
    coat = hsv(rng.uniform(0.03, 0.12), rng.uniform(0, 0.65), rng.uniform(0.1, 0.9))
    fur = canvas.noise.grainy(coat, leaf=0.2, fine=0.1)

    def place(px, py):
        return x + facing * size * px, y - size * py

    canvas.shadow(x, y, size * 0.7, unit * 0.05)
    canvas.begin('dog', thing=True)
    canvas.polygon(limb(place(-0.45, 0.6), place(-0.8, 0.95), size * 0.12, size * 0.05), fur)
    for px in (-0.4, -0.25, 0.25, 0.4):
        canvas.polygon(limb(place(px, 0.45), place(px, 0), size * 0.14, size * 0.11), coat * 0.85)
    canvas.ellipse(*place(0, 0.55), size * 0.52, size * 0.22, fur)
    canvas.polygon(limb(place(0.35, 0.6), place(0.55, 0.9), size * 0.26, size * 0.24), fur)
    canvas.ellipse(*place(0.58, 0.95), size * 0.2, size * 0.18, fur)
    canvas.ellipse(*place(0.76, 0.89), size * 0.13, size * 0.09, coat * 0.8)
    canvas.polygon([place(0.42, 1.0), place(0.5, 1.25), place(0.58, 1.08)], coat * 0.55)
    canvas.ellipse(*place(0.64, 1.0), size * 0.03, size * 0.03, np.zeros(3))


def draw_tree(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A round crown of leaf clumps, or the tiers of a conifer, on a trunk."""
    rng, noise, height = canvas.rng, canvas.noise, unit * canvas.rng.uniform(1.7, 3.0)
    bark = hsv(rng.uniform(0.04, 0.1), rng.uniform(0.15, 0.5), rng.uniform(0.2, 0.5))
    hue = rng.uniform(0.24, 0.38) if rng.random() < 0.75 else rng.uniform(0.0, 0.1)
    leaf = hsv(hue, rng.uniform(0.45, 0.8), rng.uniform(0.25, 0.55))
    canvas.shadow(x, y, height * 0.25, unit * 0.1)
    canvas.begin('tree', thing=True)
    canvas.polygon(
        limb((x, y), (x, y - height * 0.5), height * 0.09, height * 0.06),
        noise.grainy(bark, blade=0.4),
    )
    light, dark = noise.grainy(leaf * 1.25, leaf=0.3), leaf * 0.55
    if rng.random() < 0.35:
        for tier in range(4):
            wide, low = height * (0.27 - 0.05 * tier), y - height * (0.16 + 0.2 * tier)
            outline = [(x - wide, low), (x, low - height * 0.34), (x + wide, low)]
            canvas.polygon(outline, noise.mixed(light, dark, 'leaf', 0.1 * canvas.sun, 0.5))
        return
    for _ in range(7):
        cx, cy = x + height * rng.uniform(-0.2, 0.2), y - height * rng.uniform(0.5, 0.86)
        radius = height * rng.uniform(0.13, 0.2)
        threshold = (
            0.1 + 1.2 * ((cy - y + height * 0.68) / -height) + 0.8 * canvas.sun * (cx - x) / height
        )
        canvas.polygon(
            blob(rng, cx, cy, radius, radius * 0.9, 0.12),
            noise.mixed(light, dark, 'leaf', threshold, 0.5),
        )


def draw_plant(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A potted or growing bush: pointed leaves that fan out from its foot, some with flowers."""
    rng, height = canvas.rng, unit * canvas.rng.uniform(0.6, 0.95)
    leaf, potted = (
        hsv(rng.uniform(0.22, 0.45), rng.uniform(0.45, 0.85), rng.uniform(0.5, 0.8)),
        rng.random() < 0.5,
    )
    foot = y - (height * 0.3 if potted else 0)
    canvas.shadow(x, y, height * 0.4, unit * 0.06)
    canvas.begin('plant', thing=True)
    for i, lean in enumerate(np.linspace(-1.25, 1.25, 11)[rng.permutation(11)]):
        length, wide = height * rng.uniform(0.65, 0.9), height * 0.11
        tip = np.array([x + np.sin(lean) * length * 0.9, foot - np.cos(lean) * length])
        middle = np.array([x, foot]) * 0.45 + tip * 0.55
        across = np.array([-np.cos(lean), -np.sin(lean)]) * wide
        canvas.polygon([(x, foot), middle + across, tip, middle - across], leaf * (0.6 + 0.07 * i))
    if rng.random() < 0.5:
        flower = hsv(rng.uniform(-0.3, 0.17), rng.uniform(0.3, 0.9), 0.95)
        for _ in range(7):
            bloom = x + height * rng.uniform(-0.45, 0.45), foot - height * rng.uniform(0.25, 0.7)
            canvas.ellipse(*bloom, height * 0.065, height * 0.065, flower)
    if potted:
        pot, top = (
            hsv(rng.uniform(0, 1), rng.uniform(0.1, 0.6), rng.uniform(0.35, 0.85)),
            foot - height * 0.02,
        )
        canvas.polygon(
            [
                (x - height * 0.28, top),
                (x + height * 0.28, top),
                (x + height * 0.2, y),
                (x - height * 0.2, y),
            ],
            canvas.noise.grainy(pot, fine=0.05),
        )
