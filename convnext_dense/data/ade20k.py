"""ADE20K scene parsing (ADEChallengeData2016): classes, files and folders, and the check of a copy.

Files: ``images/{training,validation}/*.jpg``, and for each an annotation with the same stem in
``annotations/{training,validation}/*.png``. An annotation is single-channel uint8: 0 = unlabelled,
1..150 = ``CLASSES``. mmseg's ADE20KDataset subtracts one (``reduce_zero_label=True``), which turns
unlabelled into 255 = ignored.

Source: Zhou et al., Scene Parsing through ADE20K Dataset, CVPR 2017;
https://sceneparsing.csail.mit.edu.
"""

from __future__ import annotations

from pathlib import Path

from convnext_dense.data import checking
from convnext_dense.data.sample_folder import read_counts

# Label i + 1 is CLASSES[i]. Spelled as in mmseg's ADE20KDataset.METAINFO, with the blank in 'bed '.
# One name per line would take 150 lines.
# fmt: off
CLASSES = (
    'wall', 'building', 'sky', 'floor', 'tree', 'ceiling', 'road', 'bed ', 'windowpane', 'grass',
    'cabinet', 'sidewalk', 'person', 'earth', 'door', 'table', 'mountain', 'plant', 'curtain',
    'chair', 'car', 'water', 'painting', 'sofa', 'shelf', 'house', 'sea', 'mirror', 'rug', 'field',
    'armchair', 'seat', 'fence', 'desk', 'rock', 'wardrobe', 'lamp', 'bathtub', 'railing',
    'cushion', 'base', 'box', 'column', 'signboard', 'chest of drawers', 'counter', 'sand', 'sink',
    'skyscraper', 'fireplace', 'refrigerator', 'grandstand', 'path', 'stairs', 'runway', 'case',
    'pool table', 'pillow', 'screen door', 'stairway', 'river', 'bridge', 'bookcase', 'blind',
    'coffee table', 'toilet', 'flower', 'book', 'hill', 'bench', 'countertop', 'stove', 'palm',
    'kitchen island', 'computer', 'swivel chair', 'boat', 'bar', 'arcade machine', 'hovel', 'bus',
    'towel', 'light', 'truck', 'tower', 'chandelier', 'awning', 'streetlight', 'booth',
    'television receiver', 'airplane', 'dirt track', 'apparel', 'pole', 'land', 'bannister',
    'escalator', 'ottoman', 'bottle', 'buffet', 'poster', 'stage', 'van', 'ship', 'fountain',
    'conveyer belt', 'canopy', 'washer', 'plaything', 'swimming pool', 'stool', 'barrel', 'basket',
    'waterfall', 'tent', 'bag', 'minibike', 'cradle', 'oven', 'ball', 'food', 'step', 'tank',
    'trade name', 'microwave', 'pot', 'animal', 'bicycle', 'lake', 'dishwasher', 'screen',
    'blanket', 'sculpture', 'hood', 'sconce', 'vase', 'traffic light', 'tray', 'ashcan', 'fan',
    'pier', 'crt screen', 'plate', 'monitor', 'bulletin board', 'shower', 'radiator', 'glass',
    'clock', 'flag',
)
# fmt: on
COUNTS = dict(training=20210, validation=2000)  # images in each split


def find_root(path: str | Path) -> Path | None:
    """The folder at, above or below ``path`` that holds images/ and annotations/; None if none."""

    def is_root(folder: Path) -> bool:
        return (folder / 'images/training').is_dir() and (folder / 'annotations/training').is_dir()

    return checking.find_nearby(Path(path), is_root)


def _check_root(root: Path) -> list[str]:
    """Why ``root`` is not the folder that holds images/ and annotations/; empty if it is."""
    if (root / 'images').is_dir() and (root / 'annotations').is_dir():
        return []
    meant = find_root(root)
    archives = sorted(root.glob('*.zip'))
    index_files = [*root.glob('index_ade20k.*'), *root.glob('*/index_ade20k.*')]
    if meant:
        found = f'the right folder seems to be {meant}'
    elif archives:
        found = (
            f'{archives[0].name} is not unpacked: '
            'unpack it and give the folder ADEChallengeData2016'
        )
    elif index_files:
        found = (
            'this is the full ADE20K, whose files are arranged differently: '
            'get ADEChallengeData2016.zip'
        )
    else:
        found = checking.describe_content(root)
    return [f'{root}: expected a folder that holds images/ and annotations/; {found}']


def _check_pair(image_path: Path, annotation_path: Path) -> list[str]:
    """What is wrong with an image and its annotation; empty if nothing is."""
    try:
        mode, labels = checking.read_image(annotation_path)
        _, pixels = checking.read_image(image_path)
    except OSError as error:
        return [str(error)]
    if mode != 'L':
        return [f'{annotation_path}: expected one channel of uint8 (mode L); got mode {mode}']
    problems = []
    if labels.max() > len(CLASSES):
        problems.append(f'{annotation_path}: expected labels 0..{len(CLASSES)}; got {labels.max()}')
    height, width = labels.shape
    image_height, image_width = pixels.shape[:2]
    if (height, width) != (image_height, image_width):
        problems.append(
            f'{annotation_path}: expected the size of its image, {image_width}x{image_height}; '
            f'got {width}x{height}'
        )
    return problems


def _check_split(root: Path, split: str, count: int, full: bool, num_checked: int) -> list[str]:
    problems = []
    images = root / 'images' / split
    annotations = root / 'annotations' / split
    image_stems = {path.stem for path in images.glob('*.jpg')}
    annotation_stems = {path.stem for path in annotations.glob('*.png')}
    if len(image_stems) != count:
        problems.append(f'{images}: expected {count:,} images (*.jpg); got {len(image_stems):,}')

    # Files without a partner.
    if image_stems - annotation_stems:
        names = checking.list_some(image_stems - annotation_stems)
        problems.append(f'{annotations}: no annotation (*.png) for {names}')
    if annotation_stems - image_stems:
        names = checking.list_some(annotation_stems - image_stems)
        problems.append(f'{images}: no image (*.jpg) for {names}')

    pairs = sorted(image_stems & annotation_stems)
    for stem in checking.choose_files(pairs, full, num_checked):
        problems += _check_pair(images / f'{stem}.jpg', annotations / f'{stem}.png')
    return problems


def check(
    root: str | Path, full: bool = False, num_checked: int = checking.NUM_CHECKED
) -> list[str]:
    """List what is wrong with a copy of ADE20K, one sentence each; empty if it is complete.

    Checks that ``root`` is the right folder, the number of images, and that images and annotations
    belong together. Of each split it opens some pairs and checks that both files can be read and
    that the annotation is single-channel uint8 in 0..150 of the size of its image. A drawn sample
    must have the counts that it was written with.

    Args:
        root: folder that holds images/ and annotations/.
        full: open every pair.
        num_checked: number of pairs to open in each split otherwise.
    """
    root = Path(root)
    problems = _check_root(root)
    if problems:
        return problems
    for split, count in read_counts(root, COUNTS).items():
        problems += _check_split(root, split, count, full, num_checked)
    return problems


def describe(root: Path, full: bool) -> list[str]:
    """What :func:`check` has found to be right in a copy without problems, one sentence each."""
    lines = []
    for split in COUNTS:
        count = len(list((root / 'images' / split).glob('*.jpg')))
        lines.append(f'{split}: {count:,} images, each with its annotation')
    extent = checking.describe_extent('image and label', full)
    lines.append(f'{extent} can be read, labels are 0..150 and of the size of their image')
    return lines
