"""COCO 2017: categories, files and folders. ``coco_check`` checks a copy.

Files: ``train2017/*.jpg``, ``val2017/*.jpg`` and ``annotations/instances_{train,val}2017.json``.
Boxes are x, y, width, height in pixels. The outline of an object is a list of polygons; that of a
crowd (``iscrowd=1``: several objects that are not separated, ignored in training and in the scores)
is run lengths.

Source: Lin et al., Microsoft COCO, ECCV 2014; https://cocodataset.org/#format-data.
"""

from __future__ import annotations

from pathlib import Path

# Supercategory -> id -> name; ten of the ids up to 90 are not used.
# One category per line would take 100 lines.
# fmt: off
_NAMES_BY_GROUP = {
    'person': {1: 'person'},
    'vehicle': {2: 'bicycle', 3: 'car', 4: 'motorcycle', 5: 'airplane', 6: 'bus', 7: 'train',
                8: 'truck', 9: 'boat'},
    'outdoor': {10: 'traffic light', 11: 'fire hydrant', 13: 'stop sign', 14: 'parking meter',
                15: 'bench'},
    'animal': {16: 'bird', 17: 'cat', 18: 'dog', 19: 'horse', 20: 'sheep', 21: 'cow',
               22: 'elephant', 23: 'bear', 24: 'zebra', 25: 'giraffe'},
    'accessory': {27: 'backpack', 28: 'umbrella', 31: 'handbag', 32: 'tie', 33: 'suitcase'},
    'sports': {34: 'frisbee', 35: 'skis', 36: 'snowboard', 37: 'sports ball', 38: 'kite',
               39: 'baseball bat', 40: 'baseball glove', 41: 'skateboard', 42: 'surfboard',
               43: 'tennis racket'},
    'kitchen': {44: 'bottle', 46: 'wine glass', 47: 'cup', 48: 'fork', 49: 'knife', 50: 'spoon',
                51: 'bowl'},
    'food': {52: 'banana', 53: 'apple', 54: 'sandwich', 55: 'orange', 56: 'broccoli', 57: 'carrot',
             58: 'hot dog', 59: 'pizza', 60: 'donut', 61: 'cake'},
    'furniture': {62: 'chair', 63: 'couch', 64: 'potted plant', 65: 'bed', 67: 'dining table',
                  70: 'toilet'},
    'electronic': {72: 'tv', 73: 'laptop', 74: 'mouse', 75: 'remote', 76: 'keyboard',
                   77: 'cell phone'},
    'appliance': {78: 'microwave', 79: 'oven', 80: 'toaster', 81: 'sink', 82: 'refrigerator'},
    'indoor': {84: 'book', 85: 'clock', 86: 'vase', 87: 'scissors', 88: 'teddy bear',
               89: 'hair drier', 90: 'toothbrush'},
}
# fmt: on


def _make_categories() -> tuple[dict, ...]:
    """The list 'categories' of an annotation file."""
    categories = []
    for group, names in _NAMES_BY_GROUP.items():
        for number, name in names.items():
            categories.append(dict(supercategory=group, id=number, name=name))
    return tuple(categories)


CATEGORIES = _make_categories()
CLASSES = tuple(category['name'] for category in CATEGORIES)
CATEGORY_IDS = {category['name']: category['id'] for category in CATEGORIES}
SPLITS = ('train', 'val')
COUNTS = dict(train=118287, val=5000)  # images in each split


def get_image_folder(root: Path, split: str) -> Path:
    """The folder of the images of a split, 'train' or 'val'."""
    return root / f'{split}2017'


def get_annotation_path(root: Path, split: str) -> Path:
    """The annotation file of a split, 'train' or 'val'."""
    return root / 'annotations' / f'instances_{split}2017.json'
