"""ADE20K scene parsing (ADEChallengeData2016): its classes and layout, a writer of drawn scenes, a check of a download.

Layout: ``images/{training,validation}/*.jpg`` and ``annotations/{training,validation}/*.png`` of the same stems. A
label is single-channel uint8: 0 = unlabelled, 1..150 = ``CLASSES``; mmseg's ADE20KDataset takes one off
(``reduce_zero_label=True``), which turns unlabelled into 255 = ignored.

Source: Zhou et al., Scene Parsing through ADE20K Dataset, CVPR 2017; https://sceneparsing.csail.mit.edu.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from convnext_dense.data.sample_folder import has_drawn, read_stamp, write_drawn
from convnext_dense.scenes.scene import SPLITS, Scene, draw_scene

# Label i + 1 is CLASSES[i]; spelled as in mmseg's ADE20KDataset.METAINFO, blank after 'bed ' included.
CLASSES = (
    'wall',
    'building',
    'sky',
    'floor',
    'tree',
    'ceiling',
    'road',
    'bed ',
    'windowpane',
    'grass',
    'cabinet',
    'sidewalk',
    'person',
    'earth',
    'door',
    'table',
    'mountain',
    'plant',
    'curtain',
    'chair',
    'car',
    'water',
    'painting',
    'sofa',
    'shelf',
    'house',
    'sea',
    'mirror',
    'rug',
    'field',
    'armchair',
    'seat',
    'fence',
    'desk',
    'rock',
    'wardrobe',
    'lamp',
    'bathtub',
    'railing',
    'cushion',
    'base',
    'box',
    'column',
    'signboard',
    'chest of drawers',
    'counter',
    'sand',
    'sink',
    'skyscraper',
    'fireplace',
    'refrigerator',
    'grandstand',
    'path',
    'stairs',
    'runway',
    'case',
    'pool table',
    'pillow',
    'screen door',
    'stairway',
    'river',
    'bridge',
    'bookcase',
    'blind',
    'coffee table',
    'toilet',
    'flower',
    'book',
    'hill',
    'bench',
    'countertop',
    'stove',
    'palm',
    'kitchen island',
    'computer',
    'swivel chair',
    'boat',
    'bar',
    'arcade machine',
    'hovel',
    'bus',
    'towel',
    'light',
    'truck',
    'tower',
    'chandelier',
    'awning',
    'streetlight',
    'booth',
    'television receiver',
    'airplane',
    'dirt track',
    'apparel',
    'pole',
    'land',
    'bannister',
    'escalator',
    'ottoman',
    'bottle',
    'buffet',
    'poster',
    'stage',
    'van',
    'ship',
    'fountain',
    'conveyer belt',
    'canopy',
    'washer',
    'plaything',
    'swimming pool',
    'stool',
    'barrel',
    'basket',
    'waterfall',
    'tent',
    'bag',
    'minibike',
    'cradle',
    'oven',
    'ball',
    'food',
    'step',
    'tank',
    'trade name',
    'microwave',
    'pot',
    'animal',
    'bicycle',
    'lake',
    'dishwasher',
    'screen',
    'blanket',
    'sculpture',
    'hood',
    'sconce',
    'vase',
    'traffic light',
    'tray',
    'ashcan',
    'fan',
    'pier',
    'crt screen',
    'plate',
    'monitor',
    'bulletin board',
    'shower',
    'radiator',
    'glass',
    'clock',
    'flag',
)
COUNTS = dict(training=20210, validation=2000)
SAMPLE_FOLDER = Path(
    'ade/ADEChallengeData2016'
)  # of the sample, inside its root: data/sample by default
# What the sample's scenes hold; the number of times a name stands here is its share among the things drawn. Plants are
# left out: of all classes a short run learns them last.
SAMPLE_THINGS = (
    'person',
    'person',
    'person',
    'car',
    'car',
    'car',
    'tree',
    'tree',
    'streetlight',
    'streetlight',
    'signboard',
    'signboard',
    'fence',
    'fence',
    'traffic cone',
)
SAMPLE_VERSION = (
    1  # raised whenever the drawn scenes change, so that samples written before are written again
)
_LABELS = {name: i + 1 for i, name in enumerate(CLASSES)} | {'dog': CLASSES.index('animal') + 1}


def label_map(scene: Scene) -> np.ndarray:
    """ADE20K's labels (H, W) uint8 of a scene; a region whose class ADE20K lacks is 0, unlabelled."""
    table = np.zeros(scene.ids.max() + 1, dtype=np.uint8)
    for region in scene.regions:
        table[region.id] = _LABELS.get(region.name, 0)
    return table[scene.ids]


def _write_split(root: Path, split: str, count: int, seed: int) -> None:
    images, annotations = root / 'images' / split, root / 'annotations' / split
    images.mkdir(parents=True)
    annotations.mkdir(parents=True)
    for index in range(count):
        stem = f'ADE_{"train" if split == "training" else "val"}_{index + 1:08d}'
        scene = draw_scene(seed, split, index, SAMPLE_THINGS)
        Image.fromarray(scene.image).save(images / f'{stem}.jpg', quality=95)
        Image.fromarray(label_map(scene)).save(annotations / f'{stem}.png')


def write_sample(root: str | Path, num_train: int = 64, num_val: int = 16, seed: int = 0) -> bool:
    """Write drawn scenes in ADE20K's layout under ``root``; True when written, False when they were there already.

    The folder appears whole or not at all. A sample with other parameters, or of another version, is replaced.

    Raises:
        ValueError: a count below 1 or a negative seed.
        FileExistsError: ``root`` holds files that this function did not write; they are left as they are.
    """
    return write_drawn(
        root, dict(training=num_train, validation=num_val), seed, SAMPLE_VERSION, _write_split
    )


def ensure_sample(root: str | Path) -> bool:
    """Write the default sample unless a complete one of this version, of whatever size and seed, is there already."""
    return not has_drawn(root, SAMPLE_VERSION) and write_sample(root)


def find_root(path: str | Path) -> Path | None:
    """The folder near ``path`` that holds ADE20K's ``images`` and ``annotations``: itself, above, or below; or None."""
    path = Path(path).absolute()
    above = (path.parent, path.parent.parent, path.parent.parent / path.name)
    below = sorted(child for pattern in ('*', '*/*') for child in path.glob(pattern))
    for folder in (path, *above, *below):
        if all((folder / kind / 'training').is_dir() for kind in ('images', 'annotations')):
            return folder
    return None


def _check_level(root: Path) -> list[str]:
    """Why ``root`` is not the folder that holds images/ and annotations/; empty when it is."""
    if all((root / kind).is_dir() for kind in ('images', 'annotations')):
        return []
    expected = f'{root}: expected a folder with images/ and annotations/ in it'
    if meant := find_root(root):
        return [f'{expected}; the one that was meant is {meant}']
    if not root.is_dir():
        return [f'{expected}; there is no such folder']
    if archives := sorted(root.glob('*.zip')):
        return [
            f'{expected}; {archives[0].name} is not unpacked: unpack it and give the folder ADEChallengeData2016'
        ]
    if any(found for pattern in ('', '*/') for found in root.glob(f'{pattern}index_ade20k.*')):
        return [
            f'{expected}; this is the full ADE20K, whose layout differs: get ADEChallengeData2016.zip'
        ]
    return [f'{expected}; got {sorted(child.name for child in root.iterdir())[:8]}']


def _read(path: Path) -> tuple[str, np.ndarray]:
    """Mode and pixels of an image file. Raises OSError, whatever is wrong with the file."""
    try:
        with Image.open(path) as file:
            return file.mode, np.asarray(file)
    except (OSError, SyntaxError, ValueError) as error:
        raise OSError(f'{path}: cannot be read ({error})') from error


def _check_pair(image: Path, annotation: Path) -> list[str]:
    """What is wrong with one image and its label; empty when nothing is."""
    try:
        (mode, label), (_, pixels) = _read(annotation), _read(image)
    except OSError as error:
        return [str(error)]
    if mode != 'L':
        return [f'{annotation}: expected one channel of uint8 (mode L); got mode {mode}']
    problems = []
    if label.max() > len(CLASSES):
        problems.append(f'{annotation}: expected labels 0..{len(CLASSES)}; got {label.max()}')
    if label.shape != pixels.shape[:2]:
        (height, width), expected = label.shape, f'{pixels.shape[1]}x{pixels.shape[0]}'
        problems.append(
            f'{annotation}: expected the size of its image, {expected}; got {width}x{height}'
        )
    return problems


def _some(names: set[str]) -> str:
    return f'{len(names)} ({", ".join(sorted(names)[:3])}{", ..." if len(names) > 3 else ""})'


def check(root: str | Path, full: bool = False, sample: int = 50) -> list[str]:
    """What is wrong with a copy of ADE20K, one sentence each; empty when it is right.

    Looked at: the folder's level, the number of files, that each image has its label and the reverse, and of ``sample``
    pairs in each split (``full``: of all) that both files can be read, the label is single-channel uint8 in 0..150 and
    has the image's size. A drawn sample is held to the counts it was written with.
    """
    root = Path(root)
    if problems := _check_level(root):
        return problems
    for split, count in (read_stamp(root) or {}).get('counts', COUNTS).items():
        images, annotations = root / 'images' / split, root / 'annotations' / split
        pictures, labels = (
            {path.stem for path in folder.glob(f'*{suffix}')}
            for folder, suffix in ((images, '.jpg'), (annotations, '.png'))
        )
        if len(pictures) != count:
            problems.append(f'{images}: expected {count:,} images (*.jpg); got {len(pictures):,}')
        if alone := pictures - labels:
            problems.append(f'{annotations}: no annotation (*.png) for {_some(alone)}')
        if alone := labels - pictures:
            problems.append(f'{images}: no image (*.jpg) for {_some(alone)}')
        pairs = sorted(pictures & labels)
        for stem in pairs if full else pairs[:: max(len(pairs) // sample, 1)]:
            problems += _check_pair(images / f'{stem}.jpg', annotations / f'{stem}.png')
    return problems
