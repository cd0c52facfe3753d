"""Drawn street scenes as a small COCO: which things they show, annotations, and the writer."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from pathlib import Path

import numpy as np
from PIL import Image

from convnext_dense.data.coco import (
    CATEGORIES,
    CATEGORY_IDS,
    CLASSES,
    get_annotation_path,
    get_image_folder,
)
from convnext_dense.data.coco_masks import make_polygons, make_run_lengths
from convnext_dense.data.sample import Sample
from convnext_dense.scenes import Scene, draw_scene

VERSION = 1
# The number of times that a name stands here is its share among the things that are drawn.
# Trees and streetlights, which COCO lacks, stand in front of other things.
THINGS = (
    *['person'] * 2,
    *['car'] * 3,
    'bus',
    'truck',
    'dog',
    'traffic light',
    'tree',
    'streetlight',
)
# Every twelfth scene shows these things only. COCO lacks them all: the scene has no annotation.
EMPTY_SCENE_THINGS = ('tree', 'streetlight', 'fence', 'signboard')
EMPTY_SCENE_PERIOD = 12
MIN_AREA = 100  # pixels; an object that shows less of itself becomes part of a crowd
_FIRST_IMAGE_ID = dict(train=1, val=500001)  # as in COCO, the id of an image is its file name
_SCENE_SPLITS = dict(train='training', val='validation')


def choose_things(index: int) -> tuple[str, ...]:
    """Names of the things that scene number ``index`` of a split may show."""
    if index % EMPTY_SCENE_PERIOD == EMPTY_SCENE_PERIOD - 1:
        return EMPTY_SCENE_THINGS
    return THINGS


def _annotate(mask: np.ndarray, category: str, crowd: bool) -> dict:
    """COCO's annotation, without ids, of a mask (H, W) that is not empty."""
    rows = np.flatnonzero(mask.any(1))
    columns = np.flatnonzero(mask.any(0))
    x, width = columns[0], columns[-1] + 1 - columns[0]
    y, height = rows[0], rows[-1] + 1 - rows[0]
    return dict(
        segmentation=make_run_lengths(mask) if crowd else make_polygons(mask),
        area=float(mask.sum()),
        iscrowd=int(crowd),
        bbox=[float(x), float(y), float(width), float(height)],
        category_id=CATEGORY_IDS[category],
    )


def make_annotations(scene: Scene) -> list[dict]:
    """COCO's annotations of what a scene shows, without ids; classes that COCO lacks are left out.

    Things of a class that show fewer than ``MIN_AREA`` pixels each form one crowd.
    """
    annotations = []
    crowds: dict[str, np.ndarray] = {}  # class -> mask (H, W)
    for region in scene.instances:
        if region.name not in CATEGORY_IDS:
            continue
        mask = scene.mask(region)
        if mask.sum() >= MIN_AREA:
            annotations.append(_annotate(mask, region.name, crowd=False))
        elif region.name in crowds:
            crowds[region.name] |= mask
        else:
            crowds[region.name] = mask
    for name, mask in crowds.items():
        annotations.append(_annotate(mask, name, crowd=True))
    return annotations


def _write_split(root: Path, split: str, count: int, seed: int) -> None:
    folder = get_image_folder(root, split)
    folder.mkdir(parents=True)
    images = []
    annotations = []
    for index in range(count):
        scene = draw_scene(seed, _SCENE_SPLITS[split], index, choose_things(index))
        image = _make_image_entry(scene, _FIRST_IMAGE_ID[split] + index)
        Image.fromarray(scene.image).save(folder / image['file_name'], quality=95)
        images.append(image)
        for number, annotation in enumerate(make_annotations(scene)):
            annotation.update(image_id=image['id'], id=image['id'] * 100 + number)
            annotations.append(annotation)
    path = get_annotation_path(root, split)
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(_make_annotation_file(images, annotations)))


def _make_image_entry(scene: Scene, image_id: int) -> dict:
    height, width = scene.ids.shape
    return dict(
        license=1,
        file_name=f'{image_id:012d}.jpg',
        coco_url='',
        height=height,
        width=width,
        date_captured='2017-01-01 00:00:00',
        flickr_url='',
        id=image_id,
    )


def _make_annotation_file(images: list[dict], annotations: list[dict]) -> dict:
    info = dict(
        description="Drawn scenes in COCO's layout",
        url='',
        version=str(VERSION),
        year=2017,
        contributor='convnext_dense',
        date_created='2017/01/01',
    )
    url = 'https://www.apache.org/licenses/LICENSE-2.0'
    return dict(
        info=info,
        licenses=[dict(url=url, id=1, name='Apache License 2.0')],
        images=images,
        annotations=annotations,
        categories=CATEGORIES,
    )


def _adapt(dataset: MutableMapping, training: bool) -> None:
    """Read COCO's own file names, also where a config reads other data in COCO's format."""
    split = 'train' if training else 'val'
    dataset['ann_file'] = str(get_annotation_path(Path(), split))
    dataset['data_prefix'] = dict(img=f'{get_image_folder(Path(), split)}/')


SAMPLE = Sample(
    folder=Path('coco'),
    counts=dict(train=192, val=48),
    version=VERSION,
    write_split=_write_split,
    config='mask_rcnn_convnext_atto_sample',
    classes=tuple(name for name in CLASSES if name in THINGS),
    adapt=_adapt,
)
