"""ImageNet: the sample, images with and without folders of classes, the check of a copy."""

import shutil

import numpy as np
import pytest
from PIL import Image

from convnext_dense.data import explain_missing, imagenet
from convnext_dense.data.imagenet import check, find_root, list_split
from convnext_dense.data.imagenet_sample import SAMPLE, WNIDS
from convnext_dense.errors import DataError


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'sample' / 'imagenet'
    assert SAMPLE.write(root, num_train=20, num_val=10, seed=3)
    return root


@pytest.fixture
def flat(tmp_path):
    """Three classes in ``train``, four images without folders in ``val``."""
    for wnid in ('n03', 'n01', 'n02'):
        (tmp_path / 'train' / wnid).mkdir(parents=True)
        Image.new('RGB', (8, 8)).save(tmp_path / 'train' / wnid / f'{wnid}_1.JPEG')
    (tmp_path / 'val').mkdir()
    for i in range(1, 5):
        Image.new('RGB', (8, 8)).save(tmp_path / 'val' / f'ILSVRC2012_val_{i:08d}.JPEG')
    return tmp_path


def test_sample_is_complete_and_repeatable(written, tmp_path):
    assert check(written, full=True) == [] and not SAMPLE.write(written, 20, 10, 3)
    assert not SAMPLE.ensure(written)
    paths, labels, wnids = list_split(written, 'val')
    assert (
        wnids == list(WNIDS) and labels == list(range(10)) and paths[0].startswith('val/n90000001/')
    )
    assert imagenet.get_class_names(written, wnids) == list(WNIDS.values())
    SAMPLE.write(tmp_path / 'more', num_train=30, num_val=1, seed=3)
    for path in list_split(written, 'train')[0]:
        assert (tmp_path / 'more' / path).read_bytes() == (written / path).read_bytes()


def test_labels_do_not_follow_from_the_order_of_reading(flat):
    assert list_split(flat, 'train') == (
        [f'train/{w}/{w}_1.JPEG' for w in ('n01', 'n02', 'n03')],
        [0, 1, 2],
        ['n01', 'n02', 'n03'],
    )


# Each says: the images are of n02, n03, n01, n01. In the devkit's numbers n03 is 1, n01 2, n02 3.
@pytest.mark.parametrize(
    'files',
    [
        {
            'LOC_val_solution.csv': 'ImageId,PredictionString\n'
            + ''.join(
                f'ILSVRC2012_val_{i:08d},{w} 1 2 3 4 \n'
                for i, w in ((3, 'n01'), (1, 'n02'), (2, 'n03'), (4, 'n01'))
            )
        },
        {
            'val.txt': ''.join(
                f'ILSVRC2012_val_{i:08d}.JPEG {k}\n' for i, k in enumerate((1, 2, 0, 0), 1)
            )
        },
        {
            'ILSVRC2012_validation_ground_truth.txt': '3\n1\n2\n2\n',
            'map_clsloc.txt': 'n03 1 c\nn01 2 a\nn02 3 b\n',
        },
    ],
    ids=['kaggle', 'caffe', 'devkit'],
)
@pytest.mark.parametrize('folder', ['.', 'meta'])
def test_flat_validation(flat, files, folder):
    (flat / folder).mkdir(exist_ok=True)
    for name, text in files.items():
        (flat / folder / name).write_text(text)
    check_flat(flat)


def test_flat_validation_with_the_devkit_as_it_is_unpacked(flat):
    from scipy.io import savemat

    data = flat / 'ILSVRC2012_devkit_t12' / 'data'
    data.mkdir(parents=True)
    (data / 'ILSVRC2012_validation_ground_truth.txt').write_text('3\n1\n2\n2\n')
    kinds = [
        ('ILSVRC2012_ID', 'O'),
        ('WNID', 'O'),
    ]  # the fourth is a group of classes, past the 1,000
    savemat(
        data / 'meta.mat',
        dict(synsets=np.array([(1, 'n03'), (2, 'n01'), (3, 'n02'), (1001, 'n09')], dtype=kinds)),
    )
    check_flat(flat)


def check_flat(flat):
    paths, labels, wnids = list_split(flat, 'val')
    assert (
        labels == [1, 2, 0, 0]
        and wnids == ['n01', 'n02', 'n03']
        and paths[0] == 'val/ILSVRC2012_val_00000001.JPEG'
    )
    shutil.rmtree(flat / 'train')  # without training images the wnids are those that the file names
    assert list_split(flat, 'val')[1] == [1, 2, 0, 0]


@pytest.mark.parametrize(
    ('files', 'message'),
    [
        ({}, 'none of LOC_val_solution.csv, val.txt'),
        ({'ILSVRC2012_validation_ground_truth.txt': '3\n'}, 'meta.mat or map_clsloc.txt beside it'),
        ({'val.txt': 'ILSVRC2012_val_00000001.JPEG 1\n'}, 'names no class for 3 images'),
        (
            {'val.txt': ''.join(f'ILSVRC2012_val_{i:08d}.JPEG 7\n' for i in range(1, 5))},
            'has class 7',
        ),
        ({'val.txt': 'one\n'}, 'cannot be read as labels'),
        (
            {'LOC_val_solution.csv': 'ILSVRC2012_val_00000001,n77 1 2 3 4\n'},
            'cannot be read as labels',
        ),
    ],
)
def test_labels_that_do_not_fit(flat, files, message):
    for name, text in files.items():
        (flat / name).write_text(text)
    with pytest.raises(DataError, match=message):
        list_split(flat, 'val')


def test_what_is_missing(tmp_path, written):
    with pytest.raises(DataError, match='train/<wnid>'):
        list_split(tmp_path, 'train')
    (tmp_path / 'train').mkdir()
    with pytest.raises(DataError, match='neither folders of classes nor images'):
        list_split(tmp_path, 'train')
    root = shutil.copytree(written, tmp_path / 'copy')
    (root / 'val' / 'n90000001').rename(root / 'val' / 'n777')
    with pytest.raises(DataError, match='n777'):
        list_split(root, 'val')


def test_check_names_what_is_wrong(tmp_path, written, flat):
    root = shutil.copytree(written, tmp_path / 'copy')
    (root / 'train' / 'n90000002' / 'n90000002_1.JPEG').write_bytes(b'no image')
    shutil.rmtree(root / 'val' / 'n90000003')
    wrong = ' '.join(check(root, full=True))
    for part in (
        'n90000002_1.JPEG: cannot be read',
        'expected 10 images; got 9',
        'got 9 with images of 10',
    ):
        assert part in wrong
    assert (
        'expected 1,000 classes; got 3' in ' '.join(check(flat))
        and 'expected 1,281,167 images' in check(flat)[1]
    )
    assert f'the right folder seems to be {written}' in check(written.parent)[0]
    assert find_root(written.parent.parent) == written == find_root(written / 'train')
    assert find_root(tmp_path / 'no' / 'such' / 'folder') is None


def test_explain_missing(tmp_path, written):
    assert explain_missing('convnext_dense.ImageNet', written) is None
    message = explain_missing(
        'convnext_dense.ImageNet', tmp_path / 'a' / 'b', 'configs/convnext_t_in1k.py'
    )
    for part in ('missing or empty: train, val', 'convnext-dense data imagenet --root', '--sample'):
        assert part in message
    assert 'convnext-dense data sample' in explain_missing(
        'ImageNet', tmp_path / 'sample' / 'imagenet'
    )
    assert 'missing or empty: train.' in explain_missing('ImageNet22k', tmp_path)


def test_gray_and_transparent_files_are_read(flat):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(flat / 'train' / 'n01' / 'gray.png')
    assert 'train/n01/gray.png' in list_split(flat, 'train')[0]
