import shutil

import numpy as np
import pytest
from PIL import Image

from convnext_dense.data import ade20k
from convnext_dense.data.ade20k_sample import SAMPLE, THINGS, make_label_map
from convnext_dense.scenes import Region, Scene, draw_scene


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp('ade') / 'ADEChallengeData2016'
    assert SAMPLE.write(root, num_train=3, num_val=2, seed=7)
    return root


@pytest.fixture
def root(written, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(written, tmp_path / 'ADEChallengeData2016')


def label_path(root, split='training', number=1):
    return (
        root
        / 'annotations'
        / split
        / f'ADE_{"train" if split == "training" else "val"}_{number:08d}.png'
    )


def image_path(root, split='training', number=1):
    return root / 'images' / split / label_path(root, split, number).with_suffix('.jpg').name


def test_classes_equal_mmsegs():
    from mmseg.datasets import ADE20KDataset

    assert tuple(ADE20KDataset.METAINFO['classes']) == ade20k.CLASSES


def test_label_map():
    names = ('sky', 'dog', 'traffic cone', 'flag')
    ids = np.array([[0, 1, 2], [3, 4, 4]], dtype=np.int32)
    scene = Scene(
        np.zeros((2, 3, 3), np.uint8),
        ids,
        tuple(Region(i, name, True) for i, name in enumerate(names, 1)),
    )
    labels = make_label_map(scene)
    assert labels.dtype == np.uint8 and labels.tolist() == [[0, 3, 127], [0, 150, 150]]


def test_layout(written):
    files = sorted(
        str(path.relative_to(written))
        for path in written.rglob('*')
        if path.suffix in ('.jpg', '.png')
    )
    stems = [
        'training/ADE_train_00000001',
        'training/ADE_train_00000002',
        'training/ADE_train_00000003',
        'validation/ADE_val_00000001',
        'validation/ADE_val_00000002',
    ]
    assert files == [
        *(f'annotations/{stem}.png' for stem in stems),
        *(f'images/{stem}.jpg' for stem in stems),
    ]


def test_files_hold_the_scene(written):
    scene = draw_scene(7, 'validation', 1, THINGS)
    label = Image.open(label_path(written, 'validation', 2))
    assert label.mode == 'L' and np.array_equal(np.asarray(label), make_label_map(scene))
    image = np.asarray(Image.open(image_path(written, 'validation', 2))).astype(int)
    assert np.abs(image - scene.image).mean() < 6  # JPEG


def test_mmseg_reads_it(written):
    from mmseg.datasets import ADE20KDataset
    from mmseg.datasets.transforms import LoadAnnotations

    pipeline = [dict(type='LoadImageFromFile'), dict(type=LoadAnnotations)]
    dataset = ADE20KDataset(
        data_root=str(written),
        pipeline=pipeline,
        data_prefix=dict(img_path='images/training', seg_map_path='annotations/training'),
    )
    assert len(dataset) == 3
    seen, label = dataset[0]['gt_seg_map'], np.asarray(Image.open(label_path(written))).astype(int)
    assert np.array_equal(seen, np.where(label == 0, 255, label - 1))
    assert 'sky' in {dataset.metainfo['classes'][i] for i in np.unique(seen) if i != 255}


def test_more_scenes_begin_with_the_same_ones(written, tmp_path):
    SAMPLE.write(tmp_path / 'more', num_train=4, num_val=1, seed=7)
    for path in (written / 'annotations' / 'training').iterdir():
        assert (
            tmp_path / 'more' / 'annotations' / 'training' / path.name
        ).read_bytes() == path.read_bytes()


def test_a_complete_copy_has_no_problems(root):
    assert ade20k.check(root) == ade20k.check(root, full=True) == ade20k.check(str(root)) == []


def test_real_data_must_have_its_counts(root):
    (root / 'convnext_dense_sample.json').unlink()
    problems = ade20k.check(root)
    assert (
        len(problems) == 2
        and 'expected 20,210 images (*.jpg); got 3' in problems[0]
        and '2,000' in problems[1]
    )


def spoil(path, array):
    Image.fromarray(array).save(path)


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])


def exceed(path):
    spoil(path, np.full_like(np.asarray(Image.open(path)), 151))


SPOILED = {
    'no annotation': (
        lambda root: label_path(root).unlink(),
        'no annotation (*.png) for 1 (ADE_train_00000001)',
    ),
    'no image': (
        lambda root: image_path(root).unlink(),
        'no image (*.jpg) for 1 (ADE_train_00000001)',
    ),
    'fewer': (
        lambda root: (image_path(root).unlink(), label_path(root).unlink()),
        'expected 3 images (*.jpg); got 2',
    ),
    'colours': (
        lambda root: spoil(label_path(root), np.zeros((4, 5, 3), np.uint8)),
        'got mode RGB',
    ),
    'range': (lambda root: exceed(label_path(root)), 'expected labels 0..150; got 151'),
    'size': (lambda root: spoil(label_path(root), np.zeros((4, 5), np.uint8)), 'got 5x4'),
    'broken label': (lambda root: cut(label_path(root), 200), '.png: cannot be read'),
    'cut image': (lambda root: cut(image_path(root), 2000), '.jpg: cannot be read'),
    'no picture': (lambda root: image_path(root).write_text('<html>'), '.jpg: cannot be read'),
}


@pytest.mark.parametrize('name', SPOILED)
def test_check_names_what_is_wrong(root, name):
    change, expected = SPOILED[name]
    change(root)
    assert any(expected in problem for problem in ade20k.check(root)), ade20k.check(root)


def test_only_a_full_check_reads_every_file(root):
    spoil(label_path(root, number=2), np.zeros((4, 5), np.uint8))
    assert not ade20k.check(root, num_checked=1) and ade20k.check(root, full=True, num_checked=1)


@pytest.mark.parametrize('given', ['.', '..', 'images', 'annotations/training'])
def test_wrong_level(root, given):
    assert ade20k.find_root(root) == ade20k.find_root(root / given) == root or given == '..'
    problems = ade20k.check((root / given).resolve())
    assert (
        problems == []
        if given == '.'
        else len(problems) == 1 and f'the right folder seems to be {root}' in problems[0]
    )


def test_wrong_folders(tmp_path):
    assert 'there is no such folder' in ade20k.check(tmp_path / 'a' / 'b' / 'c')[0]
    (tmp_path / 'x' / 'y').mkdir(parents=True)
    assert "got ['y']" in ade20k.check(tmp_path / 'x')[0]
    (tmp_path / 'x' / 'ADEChallengeData2016.zip').touch()
    assert 'ADEChallengeData2016.zip is not unpacked' in ade20k.check(tmp_path / 'x')[0]
    (tmp_path / 'x' / 'y' / 'index_ade20k.pkl').touch()
    assert 'the full ADE20K' in ade20k.check(tmp_path / 'x' / 'y')[0]
