"""Drawn pictures of single objects as a small ImageNet: ten classes, and the writer."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

from PIL import Image

from convnext_dense.data.imagenet_labels import CLASS_NAMES_FILE
from convnext_dense.data.sample import Sample
from convnext_dense.scenes import OBJECT_KINDS, draw_object

# Folder -> what its pictures show. The names look like WordNet's ids, and none of them is used.
WNIDS = {f'n9{number:07d}': kind for number, kind in enumerate(OBJECT_KINDS, start=1)}
_SCENE_SPLITS = dict(train='training', val='validation')
_INPUT_SIZE = 64  # pixels; the pictures have 72 to 96 pixels a side
_NUM_IMAGES = 40  # of a split, in a short run


def _write_split(root: Path, split: str, count: int, seed: int) -> None:
    for wnid in WNIDS:
        (root / split / wnid).mkdir(parents=True)
    wnids = list(WNIDS)
    for number in range(count):
        # The classes take turns.
        wnid = wnids[number % len(wnids)]
        index = number // len(wnids)
        if split == 'train':
            name = f'{wnid}_{index + 1}.JPEG'
        else:
            name = f'drawn_val_{number + 1:08d}.JPEG'
        picture = draw_object(WNIDS[wnid], seed, _SCENE_SPLITS[split], index)
        Image.fromarray(picture).save(root / split / wnid / name, quality=92)
    lines = [f'{wnid} {kind}\n' for wnid, kind in WNIDS.items()]
    (root / CLASS_NAMES_FILE).write_text(''.join(lines))


def _adapt(dataset: MutableMapping, training: bool) -> None:
    """Read a few small images, of the training and of the validation split alike."""
    dataset['transform']['input_size'] = _INPUT_SIZE
    dataset['indices'] = _NUM_IMAGES


SAMPLE = Sample(
    folder=Path('imagenet'),
    counts=dict(train=1280, val=320),
    version=1,
    write_split=_write_split,
    config='convnext_atto_sample',
    adapt=_adapt,
)
