"""Living things: people, dogs, trees, plants.

Each ``draw_*(canvas, x, y, unit)`` draws one whose foot is at (x, y); ``unit`` is the height of a grown person at that
place, in pixels, and everything else is measured in it.
"""
from __future__ import annotations

import numpy as np

from convnext_dense.data.canvas import Canvas
from convnext_dense.data.shapes import blob, limb
from convnext_dense.data.textures import DARK, hsv


def draw_person(canvas: Canvas, x: float, y: float, unit: float) -> None:
    rng, height = canvas.rng, unit * canvas.rng.uniform(1., 1.2)
    stride, swing = height * rng.uniform(.02, .13), height * rng.uniform(.05, .17)
    shirt = hsv(rng.uniform(0, 1), rng.uniform(.35, .9), rng.uniform(.4, .95))
    trousers = hsv(rng.uniform(.55, .7), rng.uniform(.1, .6), rng.uniform(.12, .45))
    skin = hsv(rng.uniform(.04, .08), rng.uniform(.3, .6), rng.uniform(.35, .95))
    hip, neck, wide = y - height * .47, y - height * .84, height * rng.uniform(.15, .19)
    canvas.shadow(x, y, height * .25, height * .05)
    canvas.begin('person', thing=True)
    for side in (-1, 1):
        foot = (x + side * (stride + wide * .5), y)
        thigh = (x + side * wide * .45, hip)
        canvas.polygon(limb(thigh, foot, height * .16, height * .13), trousers * (1 - .12 * side))
        canvas.polygon(limb((foot[0] - height * .02, y), (foot[0] + height * .07, y), height * .05), DARK)
        hand = (x + side * (wide + swing), hip + height * .03)
        shoulder = (x + side * wide * .85, neck + height * .04)
        canvas.polygon(limb(shoulder, hand, height * .12, height * .09), shirt * .85)
        canvas.ellipse(*hand, height * .04, height * .04, skin)
    belt = hip + height * .03
    torso = [(x - wide, neck), (x + wide, neck), (x + wide * .9, belt), (x - wide * .9, belt)]
    canvas.polygon(torso, canvas.noise.grainy(shirt, clump=.15, fine=.05))
    canvas.ellipse(x, y - height * .92, height * .09, height * .1, skin)
    hair = hsv(rng.uniform(.02, .12), rng.uniform(.1, .7), rng.uniform(.08, .6))
    canvas.ellipse(x, y - height * .97, height * .095, height * .06, hair)


def draw_dog(canvas: Canvas, x: float, y: float, unit: float) -> None:
    rng, facing, size = canvas.rng, canvas.rng.choice([-1, 1]), unit * canvas.rng.uniform(.5, .65)
    coat = hsv(rng.uniform(.03, .12), rng.uniform(0, .65), rng.uniform(.1, .9))
    fur = canvas.noise.grainy(coat, leaf=.2, fine=.1)

    def place(px, py):
        return x + facing * size * px, y - size * py
    canvas.shadow(x, y, size * .7, unit * .05)
    canvas.begin('dog', thing=True)
    canvas.polygon(limb(place(-.45, .6), place(-.8, .95), size * .12, size * .05), fur)
    for px in (-.4, -.25, .25, .4):
        canvas.polygon(limb(place(px, .45), place(px, 0), size * .14, size * .11), coat * .85)
    canvas.ellipse(*place(0, .55), size * .52, size * .22, fur)
    canvas.polygon(limb(place(.35, .6), place(.55, .9), size * .26, size * .24), fur)
    canvas.ellipse(*place(.58, .95), size * .2, size * .18, fur)
    canvas.ellipse(*place(.76, .89), size * .13, size * .09, coat * .8)
    canvas.polygon([place(.42, 1.), place(.5, 1.25), place(.58, 1.08)], coat * .55)
    canvas.ellipse(*place(.64, 1.), size * .03, size * .03, np.zeros(3))


def draw_tree(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A round crown of leaf clumps, or the tiers of a conifer, on a trunk."""
    rng, noise, height = canvas.rng, canvas.noise, unit * canvas.rng.uniform(1.7, 3.)
    bark = hsv(rng.uniform(.04, .1), rng.uniform(.15, .5), rng.uniform(.2, .5))
    hue = rng.uniform(.24, .38) if rng.random() < .75 else rng.uniform(.0, .1)
    leaf = hsv(hue, rng.uniform(.45, .8), rng.uniform(.25, .55))
    canvas.shadow(x, y, height * .25, unit * .1)
    canvas.begin('tree', thing=True)
    canvas.polygon(limb((x, y), (x, y - height * .5), height * .09, height * .06), noise.grainy(bark, blade=.4))
    light, dark = noise.grainy(leaf * 1.25, leaf=.3), leaf * .55
    if rng.random() < .35:
        for tier in range(4):
            wide, low = height * (.27 - .05 * tier), y - height * (.16 + .2 * tier)
            outline = [(x - wide, low), (x, low - height * .34), (x + wide, low)]
            canvas.polygon(outline, noise.mixed(light, dark, 'leaf', .1 * canvas.sun, .5))
        return
    for _ in range(7):
        cx, cy = x + height * rng.uniform(-.2, .2), y - height * rng.uniform(.5, .86)
        radius = height * rng.uniform(.13, .2)
        threshold = .1 + 1.2 * ((cy - y + height * .68) / -height) + .8 * canvas.sun * (cx - x) / height
        canvas.polygon(blob(rng, cx, cy, radius, radius * .9, .12), noise.mixed(light, dark, 'leaf', threshold, .5))


def draw_plant(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """A potted or growing bush: pointed leaves that fan out from its foot, some with flowers."""
    rng, height = canvas.rng, unit * canvas.rng.uniform(.6, .95)
    leaf, potted = hsv(rng.uniform(.22, .45), rng.uniform(.45, .85), rng.uniform(.5, .8)), rng.random() < .5
    foot = y - (height * .3 if potted else 0)
    canvas.shadow(x, y, height * .4, unit * .06)
    canvas.begin('plant', thing=True)
    for i, lean in enumerate(np.linspace(-1.25, 1.25, 11)[rng.permutation(11)]):
        length, wide = height * rng.uniform(.65, .9), height * .11
        tip = np.array([x + np.sin(lean) * length * .9, foot - np.cos(lean) * length])
        middle = np.array([x, foot]) * .45 + tip * .55
        across = np.array([-np.cos(lean), -np.sin(lean)]) * wide
        canvas.polygon([(x, foot), middle + across, tip, middle - across], leaf * (.6 + .07 * i))
    if rng.random() < .5:
        flower = hsv(rng.uniform(-.3, .17), rng.uniform(.3, .9), .95)
        for _ in range(7):
            bloom = x + height * rng.uniform(-.45, .45), foot - height * rng.uniform(.25, .7)
            canvas.ellipse(*bloom, height * .065, height * .065, flower)
    if potted:
        pot, top = hsv(rng.uniform(0, 1), rng.uniform(.1, .6), rng.uniform(.35, .85)), foot - height * .02
        canvas.polygon([(x - height * .28, top), (x + height * .28, top), (x + height * .2, y), (x - height * .2, y)],
                       canvas.noise.grainy(pot, fine=.05))
