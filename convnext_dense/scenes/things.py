"""The countable things that scenes hold: how each is drawn, and on which ground it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convnext_dense.scenes import living_things, street_furniture, vehicles
from convnext_dense.scenes.canvas import Canvas


@dataclass(frozen=True)
class Thing:
    """A countable thing.

    Attributes:
        draw: ``draw(canvas, x, y, unit)`` draws one that stands at (x, y), where a grown person is
            ``unit`` pixels tall.
        grounds: the classes of ground where it may stand.
    """

    draw: Callable[[Canvas, float, float, float], None]
    grounds: tuple[str, ...]


_WALKS = ('sidewalk', 'grass', 'sand')
_LAWNS = ('sidewalk', 'grass')
THINGS = {
    'person': Thing(living_things.draw_person, _WALKS),
    'dog': Thing(living_things.draw_dog, _WALKS),
    'tree': Thing(living_things.draw_tree, _LAWNS),
    'plant': Thing(living_things.draw_plant, _WALKS),
    'car': Thing(vehicles.draw_car, ('road',)),
    'bus': Thing(vehicles.draw_bus, ('road',)),
    'truck': Thing(vehicles.draw_truck, ('road',)),
    'streetlight': Thing(street_furniture.draw_streetlight, _LAWNS),
    'signboard': Thing(street_furniture.draw_signboard, _WALKS),
    'fence': Thing(street_furniture.draw_fence, ('grass', 'sand')),
    'traffic light': Thing(street_furniture.draw_traffic_light, ('sidewalk',)),
    'traffic cone': Thing(street_furniture.draw_cone, ('road', 'sidewalk', 'sand')),
}
