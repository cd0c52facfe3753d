"""Drawn street and landscape scenes with known answers: a picture, and the region that is seen at each pixel.

A scene is drawn from the back to the front, so its labels are exact and hold only what is visible. Colours of most
classes overlap; they are told apart by shape, surface and place. Writers (``ade20k``) turn scenes into data sets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convnext_dense.scenes import landscape
from convnext_dense.scenes.camera import LIGHTS, Light, photograph, sky_colours
from convnext_dense.scenes.canvas import Canvas
from convnext_dense.scenes.places import LAYOUTS, Ground
from convnext_dense.scenes.things import THINGS

SPLITS = ('training', 'validation')
WIDTHS, HEIGHTS = (256, 288, 320), (192, 224, 256)


@dataclass(frozen=True)
class Region:
    """One instance of a thing, or one connected piece of stuff.

    Attributes:
        id: its number in ``Scene.ids``, from 1; it depends on the scene's seed alone.
        name: class; ADE20K's name where ADE20K has the class.
        thing: whether it is a countable thing (an instance) or stuff.
    """

    id: int
    name: str
    thing: bool


@dataclass(frozen=True)
class Scene:
    """A picture and its answer.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        ids: (H, W) int32, the id of the region seen at each pixel; 0 = none.
        regions: every region that is visible in at least one pixel, ordered from back to front.
    """

    image: np.ndarray
    ids: np.ndarray
    regions: tuple[Region, ...]

    @property
    def instances(self) -> tuple[Region, ...]:
        return tuple(region for region in self.regions if region.thing)

    def mask(self, region: Region) -> np.ndarray:
        """(H, W) bool: where the region is visible."""
        return self.ids == region.id


def _place_things(canvas: Canvas, horizon: float, things: tuple[str, ...], count: int) -> None:
    """Draw ``count`` things on the grounds where they may stand, far ones first, kinds in turn so that none is rare."""
    rng, (height, width) = canvas.rng, canvas.shape
    names = np.array(['', *(name for name, _ in canvas.regions)])[canvas.ids]
    kinds = [kind for kind in things if np.isin(names, THINGS[kind].grounds).any()]
    order = [
        kind
        for _ in range(count // max(len(kinds), 1) + 1)
        for kind in rng.permutation(kinds).tolist()
    ][:count]
    spots = []
    for kind in order:
        rows, columns = np.nonzero(np.isin(names, THINGS[kind].grounds))
        for _ in range(12):
            pick = rng.integers(len(rows))
            x, y = columns[pick] + rng.random(), rows[pick] + rng.random()
            if all(abs(x - other) > width * 0.09 for other, _, _ in spots):
                spots.append((x, y, kind))
                break
    scale = rng.uniform(0.45, 0.62)
    for x, y, kind in sorted(spots, key=lambda spot: spot[1]):
        THINGS[kind].draw(canvas, x, y, max(height * 0.15 + scale * (y - horizon), 28))


def draw_scene(seed: int, split: str, index: int, things: tuple[str, ...] = tuple(THINGS)) -> Scene:
    """Scene number ``index`` of a split; the same arguments give the same scene.

    Width is 256, 288 or 320, height 192, 224 or 256 pixels. Split and index choose the stream of random numbers, so
    scenes do not depend on how many are drawn.

    Args:
        seed: of the whole data set, >= 0.
        split: 'training' or 'validation'.
        index: >= 0.
        things: names of the things that may be drawn, out of ``THINGS``; a name that stands twice is drawn
            twice as often.
    """
    if split not in SPLITS:
        raise ValueError(f'split must be one of {SPLITS}; got {split!r}')
    if unknown := sorted(set(things) - set(THINGS)):
        raise ValueError(f'things must be among {sorted(THINGS)}; got {unknown}')
    rng = np.random.default_rng((seed, SPLITS.index(split), index))
    height, width = int(rng.choice(HEIGHTS)), int(rng.choice(WIDTHS))
    light: Light = list(LIGHTS.values())[rng.choice(len(LIGHTS), p=(0.5, 0.2, 0.15, 0.15))]
    top, bottom = sky_colours(light, rng)
    canvas = Canvas(height, width, rng, sun=float(rng.choice([-1, 1])), haze=bottom)
    ground = Ground(canvas, height * rng.uniform(0.36, 0.48))
    landscape.draw_sky(canvas, top, bottom, ground.horizon)
    # layouts take turns, a little shaken, so that small samples hold all of them
    layout = list(LAYOUTS)[(index + int(rng.integers(2))) % len(LAYOUTS)]
    if layout in ('street', 'avenue') and rng.random() < 0.4:
        landscape.draw_mountain(
            canvas, ground.horizon + 3, height * rng.uniform(0.12, 0.3), rng.uniform(0.1, 0.6)
        )
    LAYOUTS[layout](canvas, ground, light.night)
    _place_things(canvas, ground.horizon, things, int(rng.integers(7, 12)))
    visible = np.unique(canvas.ids)
    regions = tuple(
        Region(i, name, thing) for i, (name, thing) in enumerate(canvas.regions, 1) if i in visible
    )
    return Scene(photograph(canvas.image, light, rng), canvas.ids, regions)
