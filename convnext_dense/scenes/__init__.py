"""Drawn pictures whose right answers are known: street scenes, and pictures of a single object.

Needs numpy only. :mod:`convnext_dense.data` writes these pictures to disk as small data sets.
"""

from convnext_dense.scenes.scene import Region, Scene, draw_scene
from convnext_dense.scenes.single_object import OBJECT_KINDS, draw_object

__all__ = ['OBJECT_KINDS', 'Region', 'Scene', 'draw_object', 'draw_scene']
