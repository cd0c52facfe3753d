"""Drawn street scenes as a small ADE20K: which things they show, labels, and the writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from convnext_dense.data.ade20k import CLASSES
from convnext_dense.data.sample import Sample
from convnext_dense.scenes import Scene, draw_scene

# The number of times that a name stands here is its share among the things that are drawn.
# Plants are left out: of all classes, a short training run learns them last.
THINGS = (
    *['person'] * 3,
    *['car'] * 3,
    *['tree'] * 2,
    *['streetlight'] * 2,
    *['signboard'] * 2,
    *['fence'] * 2,
    'traffic cone',
)
_LABELS = {name: label for label, name in enumerate(CLASSES, start=1)}
_LABELS['dog'] = _LABELS['animal']


def make_label_map(scene: Scene) -> np.ndarray:
    """ADE20K's labels (H, W) uint8 of a scene; regions of a class that ADE20K lacks are 0."""
    label_of_id = np.zeros(scene.ids.max() + 1, dtype=np.uint8)
    for region in scene.regions:
        label_of_id[region.id] = _LABELS.get(region.name, 0)
    return label_of_id[scene.ids]  # (H, W)


def _write_split(root: Path, split: str, count: int, seed: int) -> None:
    images = root / 'images' / split
    annotations = root / 'annotations' / split
    images.mkdir(parents=True)
    annotations.mkdir(parents=True)
    prefix = {'training': 'ADE_train', 'validation': 'ADE_val'}[split]
    for index in range(count):
        scene = draw_scene(seed, split, index, THINGS)
        stem = f'{prefix}_{index + 1:08d}'
        Image.fromarray(scene.image).save(images / f'{stem}.jpg', quality=95)
        Image.fromarray(make_label_map(scene)).save(annotations / f'{stem}.png')


SAMPLE = Sample(
    folder=Path('ade/ADEChallengeData2016'),
    counts=dict(training=64, validation=16),
    version=1,
    write_split=_write_split,
    config='upernet_convnext_atto_sample',
)
