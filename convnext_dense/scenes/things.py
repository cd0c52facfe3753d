"""The countable things that scenes hold: how each is drawn, and on which ground it stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from convnext_dense.scenes import living_things, street_furniture, vehicles
from convnext_dense.scenes.canvas import Canvas


@dataclass(frozen=True)
class Thing:
    """How a thing is drawn, ``draw(canvas, x, y, unit)``, and the classes of ground where it may stand."""

    draw: Callable[[Canvas, float, float, float], None]
    grounds: tuple[str, ...]


_WALKS, _LAWNS = ('sidewalk', 'grass', 'sand'), ('sidewalk', 'grass')
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
