"""Drawn street and landscape scenes: a picture, and the region that is seen at each pixel.

A scene is drawn from back to front, so its labels are exact and hold only what is visible. Most
classes share their colours with others; shape, surface and place tell them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from convnext_dense.scenes import landscape
from convnext_dense.scenes.camera import choose_light, photograph, sky_colours
from convnext_dense.scenes.canvas import Canvas
from convnext_dense.scenes.places import PLACES, Ground
from convnext_dense.scenes.things import THINGS

SPLITS = ('training', 'validation')
WIDTHS = (256, 288, 320)  # pixels
HEIGHTS = (192, 224, 256)
_TRIES = 12  # to find a spot for a thing
_MIN_DISTANCE = 0.09  # between two things, of the width of the picture
_MIN_UNIT = 28  # pixels; no person is drawn smaller than this


@dataclass(frozen=True)
class Region:
    """One instance of a thing, or one connected piece of stuff.

    Attributes:
        id: its number in ``Scene.ids``, from 1; it depends on the seed of the scene only.
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
        """The regions that are things."""
        return tuple(region for region in self.regions if region.thing)

    def mask(self, region: Region) -> np.ndarray:
        """(H, W) bool: where the region is visible."""
        return self.ids == region.id


def draw_scene(seed: int, split: str, index: int, things: tuple[str, ...] = tuple(THINGS)) -> Scene:
    """Draw scene number ``index`` of a split; the same arguments give the same scene.

    Width is 256, 288 or 320, height 192, 224 or 256 pixels. Split and index choose the stream of
    random numbers, so scenes do not depend on how many are drawn.

    Args:
        seed: of the whole data set, >= 0.
        split: 'training' or 'validation'.
        index: >= 0.
        things: names of the things that may be drawn, from ``THINGS``; a name that stands twice is
            drawn twice as often.

    Raises:
        ValueError: an unknown split or thing.
    """
    if split not in SPLITS:
        raise ValueError(f'split must be one of {SPLITS}; got {split!r}')
    unknown = sorted(set(things) - set(THINGS))
    if unknown:
        raise ValueError(f'things must be among {sorted(THINGS)}; got {unknown}')
    rng = np.random.default_rng((seed, SPLITS.index(split), index))
    height = int(rng.choice(HEIGHTS))
    width = int(rng.choice(WIDTHS))
    light = choose_light(rng)
    sky_top, sky_bottom = sky_colours(light, rng)
    canvas = Canvas(height, width, rng, sun=float(rng.choice([-1, 1])), haze=sky_bottom)
    ground = Ground(canvas, horizon=height * rng.uniform(0.36, 0.48))
    landscape.draw_sky(canvas, sky_top, sky_bottom, ground.horizon)
    # The places take turns, slightly shuffled, so that small samples hold all of them.
    place = list(PLACES)[(index + int(rng.integers(2))) % len(PLACES)]
    if place in ('street', 'avenue') and rng.random() < 0.4:
        mountain_height = height * rng.uniform(0.12, 0.3)
        distance = rng.uniform(0.1, 0.6)
        landscape.draw_mountain(canvas, ground.horizon + 3, mountain_height, distance)
    PLACES[place](canvas, ground, light.night)
    _place_things(canvas, ground.horizon, things, count=int(rng.integers(7, 12)))
    regions = _list_visible(canvas)
    return Scene(photograph(canvas.image, light, rng), canvas.ids, regions)


def _list_visible(canvas: Canvas) -> tuple[Region, ...]:
    """The regions that nothing hides completely."""
    visible = np.unique(canvas.ids)
    regions = []
    for number, (name, thing) in enumerate(canvas.regions, start=1):
        if number in visible:
            regions.append(Region(number, name, thing))
    return tuple(regions)


def _place_things(canvas: Canvas, horizon: float, things: tuple[str, ...], count: int) -> None:
    """Draw up to ``count`` things on the grounds where they may stand, far things first."""
    rng = canvas.rng
    names = [name for name, _ in canvas.regions]
    ground_names = np.array(['', *names])[canvas.ids]  # (H, W) name of the region at each pixel
    kinds = [kind for kind in things if np.isin(ground_names, THINGS[kind].grounds).any()]
    spots: list[tuple[float, float, str]] = []
    for kind in _take_turns(rng, kinds, count):
        spot = _find_spot(rng, np.isin(ground_names, THINGS[kind].grounds), spots)
        if spot is not None:
            spots.append((*spot, kind))

    # A thing is the taller the lower it stands in the picture, that is, the nearer it is.
    height = canvas.shape[0]
    scale = rng.uniform(0.45, 0.62)
    spots.sort(key=lambda spot: spot[1])
    for x, y, kind in spots:
        unit = max(height * 0.15 + scale * (y - horizon), _MIN_UNIT)
        THINGS[kind].draw(canvas, x, y, unit)


def _take_turns(rng: np.random.Generator, kinds: list[str], count: int) -> list[str]:
    """``count`` names in rounds of all kinds, each round in another order, so that none is rare."""
    order: list[str] = []
    for _ in range(count // max(len(kinds), 1) + 1):
        order += rng.permutation(kinds).tolist()
    return order[:count]


def _find_spot(
    rng: np.random.Generator, ground: np.ndarray, spots: list[tuple[float, float, str]]
) -> tuple[float, float] | None:
    """A random point (x, y) in the mask ``ground`` (H, W) that keeps its distance from others."""
    rows, columns = np.nonzero(ground)
    min_distance = ground.shape[1] * _MIN_DISTANCE
    for _ in range(_TRIES):
        pick = rng.integers(len(rows))
        x = columns[pick] + rng.random()
        y = rows[pick] + rng.random()
        if all(abs(x - other_x) > min_distance for other_x, _, _ in spots):
            return x, y
    return None
