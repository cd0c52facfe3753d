"""COCO as pycocotools and mmdet read it, and the check of a copy."""

import json
import shutil
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from convnext_dense.data import coco
from convnext_dense.data.coco_check import check, find_root
from convnext_dense.data.coco_sample import SAMPLE, choose_things, make_annotations
from convnext_dense.scenes import Region, Scene, draw_scene


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'coco'
    assert SAMPLE.write(root, num_train=12, num_val=2, seed=7)
    return root


@pytest.fixture
def root(written, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(written, tmp_path / 'coco')


def read(root, split='train'):
    return json.loads(coco.get_annotation_path(root, split).read_text())


def change(root, **lists):
    """Write other lists into the annotations of the training images."""
    coco.get_annotation_path(root, 'train').write_text(json.dumps(dict(read(root), **lists)))


def image_path(root, number=1):
    return root / 'train2017' / f'{number:012d}.jpg'


def test_classes_equal_mmdets_and_ids_equal_cocos():
    from mmdet.datasets import CocoDataset

    assert CocoDataset.METAINFO['classes'] == coco.CLASSES
    ids = {category['name']: category['id'] for category in coco.CATEGORIES}
    known = {
        'person': 1,
        'car': 3,
        'bus': 6,
        'truck': 8,
        'traffic light': 10,
        'stop sign': 13,
        'dog': 18,
        'backpack': 27,
        'handbag': 31,
        'bottle': 44,
        'wine glass': 46,
        'dining table': 67,
        'toilet': 70,
        'tv': 72,
        'book': 84,
        'toothbrush': 90,
    }
    assert {name: ids[name] for name in known} == known and len(set(ids.values())) == 80
    assert {c['supercategory'] for c in coco.CATEGORIES if c['name'] in ('car', 'dog')} == {
        'vehicle',
        'animal',
    }


def test_layout(written):
    files = {
        str(path.relative_to(written))
        for path in written.rglob('*')
        if path.suffix in ('.jpg', '.json')
    }
    assert files == {
        'annotations/instances_train2017.json',
        'annotations/instances_val2017.json',
        'convnext_dense_sample.json',
        'val2017/000000500001.jpg',
        'val2017/000000500002.jpg',
        *(f'train2017/{number:012d}.jpg' for number in range(1, 13)),
    }
    content = read(written)
    assert set(content) == {'info', 'licenses', 'images', 'annotations', 'categories'}
    assert set(content['images'][0]) == {
        'license',
        'file_name',
        'coco_url',
        'height',
        'width',
        'date_captured',
        'flickr_url',
        'id',
    }
    assert set(content['annotations'][0]) == {
        'segmentation',
        'area',
        'iscrowd',
        'image_id',
        'bbox',
        'category_id',
        'id',
    }
    assert (
        content['images'][0]['license'] == content['licenses'][0]['id']
        and content['info']['year'] == 2017
    )
    ids = [a['id'] for split in coco.SPLITS for a in read(written, split)['annotations']]
    assert len(set(ids)) == len(ids)


def test_the_scenes_stay_as_they_are(written):
    """If this fails, the drawing has changed: raise VERSION and note the new sums here."""
    numbers = [
        np.asarray([[*a['bbox'], a['area']] for a in read(written, split)['annotations']])
        for split in coco.SPLITS
    ]
    sums = [sha256(boxes.tobytes()).hexdigest()[:12] for boxes in numbers]
    assert (SAMPLE.version, *sums) == (1, 'f234ccc82b0e', '5ad6a69bdcce')


def test_pycocotools_decodes_what_was_drawn(written):
    index = COCO(str(coco.get_annotation_path(written, 'train')))
    for number, image_id in enumerate(index.imgs):
        scene = draw_scene(7, 'training', number, choose_things(number))
        drawn = {(region.name, scene.mask(region).tobytes()) for region in scene.instances}
        for annotation in index.imgToAnns[image_id]:
            mask = index.annToMask(annotation).astype(bool)
            rows, columns = np.nonzero(mask.any(1))[0], np.nonzero(mask.any(0))[0]
            x, y, width, height = annotation['bbox']
            assert mask.sum() == annotation['area'] and mask.shape == scene.ids.shape
            assert (x, y, x + width, y + height) == (
                columns[0],
                rows[0],
                columns[-1] + 1,
                rows[-1] + 1,
            )
            name = index.cats[annotation['category_id']]['name']
            assert annotation['iscrowd'] or (name, mask.tobytes()) in drawn
        image = np.asarray(
            Image.open(written / 'train2017' / index.imgs[image_id]['file_name'])
        ).astype(int)
        assert np.abs(image - scene.image).mean() < 6  # JPEG
    assert not index.imgToAnns[12] and all(index.imgToAnns[number] for number in range(1, 12))


def test_small_objects_form_a_crowd():
    ids = np.zeros((40, 60), dtype=np.int32)
    ids[:4, :5], ids[10:14, 30:35], ids[20:30, 10:20], ids[30:, 40:] = 1, 2, 3, 4
    regions = [Region(i, name, True) for i, name in enumerate(('car', 'car', 'car', 'tree'), 1)]
    one, crowd = make_annotations(Scene(np.zeros((40, 60, 3), np.uint8), ids, tuple(regions)))
    assert one == dict(
        segmentation=[[20.0, 20.0, 20.0, 30.0, 10.0, 30.0, 10.0, 20.0]],
        area=100.0,
        iscrowd=0,
        bbox=[10.0, 20.0, 10.0, 10.0],
        category_id=3,
    )
    assert (crowd['iscrowd'], crowd['area'], crowd['bbox']) == (1, 40.0, [0.0, 0.0, 35.0, 14.0])
    assert (
        crowd['segmentation']['size'] == [40, 60] and sum(crowd['segmentation']['counts']) == 2400
    )


@pytest.mark.parametrize(
    'metainfo', [None, dict(classes=SAMPLE.classes)], ids=['80 classes', 'its own']
)
def test_mmdet_reads_it(written, metainfo):
    from mmdet.datasets import CocoDataset
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=True)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    ]
    kwargs = dict(
        data_root=str(written),
        ann_file='annotations/instances_train2017.json',
        pipeline=pipeline,
        data_prefix=dict(img='train2017/'),
        metainfo=metainfo,
    )
    dataset = CocoDataset(**kwargs)
    assert (
        len(dataset) == 12
        and len(CocoDataset(**kwargs, filter_cfg=dict(filter_empty_gt=True))) == 11
    )
    data, truth = dataset[0], read(written)['annotations']
    first = [a for a in truth if a['image_id'] == 1 and not a['iscrowd']]
    named = [
        dataset.metainfo['classes'][label]
        for label in data['gt_bboxes_labels'][~data['gt_ignore_flags']]
    ]
    names = {category['id']: category['name'] for category in coco.CATEGORIES}
    assert named == [names[a['category_id']] for a in first]
    assert data['gt_masks'].areas[~data['gt_ignore_flags']].tolist() == [a['area'] for a in first]


def test_more_scenes_begin_with_the_same_ones(written, tmp_path):
    SAMPLE.write(tmp_path / 'few', num_train=2, num_val=1, seed=7)
    few = read(tmp_path / 'few')
    assert few['annotations'] == [a for a in read(written)['annotations'] if a['image_id'] <= 2]


def test_real_data_must_have_its_counts(root):
    (root / 'convnext_dense_sample.json').unlink()
    problems = check(root)
    assert (
        len(problems) == 2
        and 'expected 118,287 images (*.jpg); got 12' in problems[0]
        and '5,000' in problems[1]
    )


def test_a_complete_copy_has_no_problems(root):
    assert check(root) == check(root, full=True) == check(str(root)) == []


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def nest(folder):
    """As an archive unpacks in a folder of its own name."""
    folder.rename(folder.with_name('moved'))
    folder.mkdir()
    folder.with_name('moved').rename(folder / folder.name)


def rename(path, name):
    path.rename(path.with_name(name))


def zip_away(root, folder, archive):
    shutil.rmtree(root / folder)
    (root / archive).touch()


TRAIN_JSON = 'annotations/instances_train2017.json'
SPOILED = {
    'missing image': (lambda root: image_path(root).unlink(), 'no file for 1 (000000000001.jpg)'),
    'fewer images': (lambda root: image_path(root).unlink(), 'expected 12 images (*.jpg); got 11'),
    'foreign image': (
        lambda root: shutil.copy(image_path(root), root / 'train2017' / 'my.jpg'),
        'not name 1 (my.jpg)',
    ),
    'cut image': (lambda root: cut(image_path(root), 2000), '.jpg: cannot be read'),
    'size': (lambda root: Image.new('RGB', (5, 4)).save(image_path(root)), 'got 5x4'),
    'cut annotations': (lambda root: cut(root / TRAIN_JSON, 5000), 'cannot be read as JSON'),
    'captions': (
        lambda root: change(root, images=[dict(id=1, caption='')]),
        'list of images, each with file_name',
    ),
    'a list': (lambda root: (root / TRAIN_JSON).write_text('[]'), 'expected a list of images'),
    'categories': (
        lambda root: change(root, categories=[dict(id=1, name='cell')]),
        "expected COCO's 80 categories",
    ),
    'stray': (
        lambda root: change(root, images=read(root)['images'][1:]),
        'an unknown image or category',
    ),
    'deep images': (lambda root: nest(root / 'train2017'), 'one level too deep'),
    'deep annotations': (
        lambda root: nest(root / 'annotations'),
        'train2017.json is missing: it is one level',
    ),
    'zipped images': (
        lambda root: zip_away(root, 'train2017', 'train2017.zip'),
        'train2017.zip is not unpacked',
    ),
    'zipped annotations': (
        lambda root: zip_away(root, 'annotations', 'annotations_trainval2017.zip'),
        'annotations_trainval2017.zip is not unpacked',
    ),
    'test images': (
        lambda root: rename(root / 'train2017', 'test2017'),
        'got test2017, val2017; get train2017.zip',
    ),
    'other annotations': (
        lambda root: rename(root / TRAIN_JSON, 'captions_train2017.json'),
        'got captions_train2017.json, instances_val2017.json; get annotations_trainval2017.zip',
    ),
}


@pytest.mark.parametrize('name', SPOILED)
def test_check_names_what_is_wrong(root, name):
    spoil, expected = SPOILED[name]
    spoil(root)
    assert any(expected in problem for problem in check(root)), check(root)


def test_only_a_full_check_reads_every_image(root):
    cut(image_path(root, 2), 2000)
    assert not check(root, num_checked=1) and check(root, full=True, num_checked=1)


@pytest.mark.parametrize('given', ['.', '..', 'train2017', 'annotations'])
def test_wrong_level(root, given):
    assert find_root(root / given) == root or given == '..'
    problems = check((root / given).resolve())
    assert (
        problems == []
        if given == '.'
        else len(problems) == 1 and f'the right folder seems to be {root}' in problems[0]
    )


def test_wrong_folders(root, tmp_path):
    assert 'there is no such folder' in check(tmp_path / 'a' / 'b' / 'c')[0]
    (tmp_path / 'x' / 'y').mkdir(parents=True)
    assert "got ['y']" in check(tmp_path / 'x')[0]
    (tmp_path / 'x' / 'train2017.zip').touch()
    assert 'train2017.zip not unpacked' in check(tmp_path / 'x')[0]
    (tmp_path / 'x' / 'images' / 'train2017').mkdir(parents=True)
    assert f'are in {tmp_path / "x" / "images"}: move them up' in check(tmp_path / 'x')[0]
