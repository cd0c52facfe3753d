import shutil

import pytest

from convnext_dense.data import RECORDS, explain_missing


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'ade' / 'ADEChallengeData2016'
    RECORDS['ade20k'].sample.write(root, num_train=1, num_val=1)
    return root


@pytest.mark.parametrize('dataset', ['ADE20KDataset', 'mmseg.ADE20KDataset'])
def test_nothing_is_missing(written, dataset):
    assert explain_missing(dataset, written) is None


def test_absent(tmp_path):
    message = explain_missing(
        'mmseg.ADE20KDataset', tmp_path / 'a' / 'b' / 'ade', config='configs/my.py'
    )
    for part in (
        'images/training',
        'annotations/validation',
        'ADEChallengeData2016.zip',
        'sceneparsing.csail.mit.edu',
        f'convnext-dense data ade20k --root {tmp_path / "a" / "b" / "ade"}',
        'convnext-dense train configs/my.py --sample',
    ):
        assert part in message


def test_an_empty_folder_is_missing(written, tmp_path):
    root = shutil.copytree(written, tmp_path / 'copy')
    for path in (root / 'annotations' / 'validation').iterdir():
        path.unlink()
    assert 'missing or empty: annotations/validation.' in explain_missing('ADE20KDataset', root)


def test_the_right_folder_nearby_is_named(written):
    assert f'It seems to be in {written}: set data_root' in explain_missing(
        'ADE20KDataset', written.parent
    )


def test_unknown_types_are_not_judged(tmp_path):
    assert explain_missing('mmseg.CityscapesDataset', tmp_path) is None
    assert explain_missing('mmseg.CityscapesDataset', 's3://bucket/cityscapes') is None
    assert 'data_root of c.py' in explain_missing(
        'mmseg.CityscapesDataset', tmp_path / 'absent', 'c.py'
    )


def test_the_missing_sample_is_written_not_downloaded(tmp_path):
    reason = explain_missing('ADE20KDataset', tmp_path / 'sample' / 'ade' / 'ADEChallengeData2016')
    assert 'convnext-dense data sample' in reason and 'ADEChallengeData2016.zip' not in reason
    real = explain_missing(
        'ADE20KDataset', tmp_path / 'sample' / 'of' / 'mine'
    )  # the user's own folder of that name
    assert 'ADEChallengeData2016.zip' in real


def write_coco(root, split):
    (root / f'{split}2017').mkdir(parents=True)
    (root / f'{split}2017' / 'a.jpg').touch()
    (root / 'annotations').mkdir(exist_ok=True)
    (root / 'annotations' / f'instances_{split}2017.json').touch()


def test_coco_is_asked_only_for_what_the_config_reads(tmp_path):
    parts = ['annotations/instances_val2017.json', 'val2017/']
    message = explain_missing('mmdet.CocoDataset', tmp_path, 'my.py', parts)
    assert (
        'missing or empty: annotations/instances_val2017.json, val2017.' in message
        and 'val2017.zip' in message
    )
    assert (
        f'convnext-dense data coco --root {tmp_path}' in message
        and 'convnext-dense train my.py --sample' in message
    )
    write_coco(tmp_path, 'val')
    assert explain_missing('CocoDataset', tmp_path, parts=parts) is None
    assert 'missing or empty: annotations/instances_train2017.json, train2017.' in explain_missing(
        'CocoDataset', tmp_path
    )


def test_other_data_in_cocos_format_are_not_judged(tmp_path):
    assert (
        explain_missing('CocoDataset', tmp_path, parts=['annotations/nuclei_train.json', 'images/'])
        is None
    )


def test_coco_nearby_and_its_sample(tmp_path):
    write_coco(tmp_path / 'x' / 'coco', 'val')
    assert f'It seems to be in {tmp_path / "x" / "coco"}: set' in explain_missing(
        'CocoDataset', tmp_path / 'x'
    )
    assert 'convnext-dense data sample' in explain_missing(
        'CocoDataset', tmp_path / 'sample' / 'coco'
    )
