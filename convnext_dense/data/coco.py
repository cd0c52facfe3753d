"""COCO 2017: its classes and layout, and a writer of drawn scenes. ``coco_check`` looks at a download.

Layout: ``train2017/*.jpg``, ``val2017/*.jpg`` and ``annotations/instances_{train,val}2017.json``. Boxes are x, y,
width, height in pixels. An object is a list of polygons; a crowd (``iscrowd=1``: several objects that are not told
apart, ignored in training and in the scores) is run lengths.

Source: Lin et al., Microsoft COCO, ECCV 2014; https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from convnext_dense.data.sample_folder import has_drawn, write_drawn
from convnext_dense.data.coco_masks import make_polygons, make_run_lengths
from convnext_dense.scenes.scene import Scene, draw_scene

# (id, name, supercategory); ten of the ids up to 90 are not used.
_GROUPS = {
    'person': {1: 'person'},
    'vehicle': {
        2: 'bicycle',
        3: 'car',
        4: 'motorcycle',
        5: 'airplane',
        6: 'bus',
        7: 'train',
        8: 'truck',
        9: 'boat',
    },
    'outdoor': {
        10: 'traffic light',
        11: 'fire hydrant',
        13: 'stop sign',
        14: 'parking meter',
        15: 'bench',
    },
    'animal': {
        16: 'bird',
        17: 'cat',
        18: 'dog',
        19: 'horse',
        20: 'sheep',
        21: 'cow',
        22: 'elephant',
        23: 'bear',
        24: 'zebra',
        25: 'giraffe',
    },
    'accessory': {27: 'backpack', 28: 'umbrella', 31: 'handbag', 32: 'tie', 33: 'suitcase'},
    'sports': {
        34: 'frisbee',
        35: 'skis',
        36: 'snowboard',
        37: 'sports ball',
        38: 'kite',
        39: 'baseball bat',
        40: 'baseball glove',
        41: 'skateboard',
        42: 'surfboard',
        43: 'tennis racket',
    },
    'kitchen': {
        44: 'bottle',
        46: 'wine glass',
        47: 'cup',
        48: 'fork',
        49: 'knife',
        50: 'spoon',
        51: 'bowl',
    },
    'food': {
        52: 'banana',
        53: 'apple',
        54: 'sandwich',
        55: 'orange',
        56: 'broccoli',
        57: 'carrot',
        58: 'hot dog',
        59: 'pizza',
        60: 'donut',
        61: 'cake',
    },
    'furniture': {
        62: 'chair',
        63: 'couch',
        64: 'potted plant',
        65: 'bed',
        67: 'dining table',
        70: 'toilet',
    },
    'electronic': {
        72: 'tv',
        73: 'laptop',
        74: 'mouse',
        75: 'remote',
        76: 'keyboard',
        77: 'cell phone',
    },
    'appliance': {78: 'microwave', 79: 'oven', 80: 'toaster', 81: 'sink', 82: 'refrigerator'},
    'indoor': {
        84: 'book',
        85: 'clock',
        86: 'vase',
        87: 'scissors',
        88: 'teddy bear',
        89: 'hair drier',
        90: 'toothbrush',
    },
}
CATEGORIES = tuple(
    dict(supercategory=group, id=number, name=name)
    for group, names in _GROUPS.items()
    for number, name in names.items()
)
CLASSES = tuple(category['name'] for category in CATEGORIES)
_IDS = {category['name']: category['id'] for category in CATEGORIES}

SPLITS = ('train', 'val')
COUNTS = dict(train=118287, val=5000)
SAMPLE_FOLDER = Path('coco')  # of the sample, inside its root: data/sample by default
SAMPLE_VERSION = (
    1  # raised whenever the drawn scenes change, so that samples written before are written again
)
# Trees and streetlights, which COCO lacks, stand in the way of the others.
SAMPLE_THINGS = (
    'person',
    'person',
    'car',
    'car',
    'car',
    'bus',
    'truck',
    'dog',
    'traffic light',
    'tree',
    'streetlight',
)
SAMPLE_CLASSES = tuple(name for name in CLASSES if name in SAMPLE_THINGS)
_EMPTY = (
    'tree',
    'streetlight',
    'fence',
    'signboard',
)  # what stands in every twelfth scene: nothing that COCO has
_SMALL = 100  # pixels; what shows less of itself is told apart no more, and is a crowd
_FIRST_ID = dict(train=1, val=500001)  # of images; the numbers are the file's names, as in COCO


def annotation_path(root: Path, split: str) -> Path:
    return root / 'annotations' / f'instances_{split}2017.json'


def _annotate(mask: np.ndarray, category: str, crowd: bool) -> dict:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    x, y = columns[0], rows[0]
    box = [float(side) for side in (x, y, columns[-1] + 1 - x, rows[-1] + 1 - y)]
    return dict(
        segmentation=make_run_lengths(mask) if crowd else make_polygons(mask),
        area=float(mask.sum()),
        iscrowd=int(crowd),
        bbox=box,
        category_id=_IDS[category],
    )


def make_annotations(scene: Scene) -> list[dict]:
    """COCO's annotations of what a scene shows, without ids; classes that COCO lacks are left out.

    Things of one class that show fewer than 100 pixels each are one crowd together.
    """
    annotations, crowds = [], {}
    for region in scene.instances:
        mask = scene.mask(region)
        if region.name not in _IDS:
            continue
        if mask.sum() < _SMALL:
            crowds[region.name] = crowds.get(region.name, False) | mask
        else:
            annotations.append(_annotate(mask, region.name, crowd=False))
    return annotations + [_annotate(mask, name, crowd=True) for name, mask in crowds.items()]


def _write_split(root: Path, split: str, count: int, seed: int) -> None:
    folder, images, annotations = root / f'{split}2017', [], []
    folder.mkdir(parents=True)
    for index in range(count):
        things = _EMPTY if index % 12 == 11 else SAMPLE_THINGS
        scene = draw_scene(seed, {'train': 'training', 'val': 'validation'}[split], index, things)
        (height, width), number = scene.ids.shape, _FIRST_ID[split] + index
        image = dict(
            license=1,
            file_name=f'{number:012d}.jpg',
            coco_url='',
            height=height,
            width=width,
            date_captured='2017-01-01 00:00:00',
            flickr_url='',
            id=number,
        )
        images.append(image)
        Image.fromarray(scene.image).save(folder / image['file_name'], quality=95)
        annotations += [
            dict(annotation, image_id=number, id=number * 100 + i)
            for i, annotation in enumerate(make_annotations(scene))
        ]
    info = dict(
        description="Drawn scenes in COCO's layout",
        url='',
        version=str(SAMPLE_VERSION),
        year=2017,
        contributor='convnext_dense',
        date_created='2017/01/01',
    )
    path = annotation_path(root, split)
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps(
            dict(
                info=info,
                licenses=[
                    dict(
                        url='https://www.apache.org/licenses/LICENSE-2.0',
                        id=1,
                        name='Apache License 2.0',
                    )
                ],
                images=images,
                annotations=annotations,
                categories=CATEGORIES,
            )
        )
    )


def write_sample(root: str | Path, num_train: int = 192, num_val: int = 48, seed: int = 0) -> bool:
    """Write drawn scenes in COCO's layout under ``root``; True when written, False when they were there already.

    The folder appears whole or not at all. A sample with other parameters, or of another version, is replaced.

    Raises:
        ValueError: a count below 1 or a negative seed.
        FileExistsError: ``root`` holds files that this function did not write; they are left as they are.
    """
    return write_drawn(root, dict(train=num_train, val=num_val), seed, SAMPLE_VERSION, _write_split)


def ensure_sample(root: str | Path) -> bool:
    """Write the default sample unless a complete one of this version, of whatever size and seed, is there already."""
    return not has_drawn(root, SAMPLE_VERSION) and write_sample(root)
