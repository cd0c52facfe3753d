"""Samples and records: written once, replaced when they differ, found by the type in a config."""

from pathlib import Path

import pytest

from convnext_dense.data import CHECKED_RECORDS, RECORDS, find_record
from convnext_dense.data.sample import Sample
from convnext_dense.errors import DataError


def write_split(root, split, count, seed):
    (root / split).mkdir()
    for index in range(count):
        (root / split / f'{index}.txt').write_text(f'{seed}')


def make_sample(version=1):
    counts = dict(train=3, val=2)
    return Sample(Path('tiny'), counts, version, write_split, config='tiny')


def count_files(root, split):
    return len(list((root / split).iterdir()))


def test_default_counts(tmp_path):
    assert make_sample().write(tmp_path / 'a')
    assert count_files(tmp_path / 'a', 'train') == 3
    assert count_files(tmp_path / 'a', 'val') == 2


def test_the_same_sample_is_not_written_again(tmp_path):
    sample = make_sample()
    sample.write(tmp_path / 'a', num_train=4, seed=7)
    (tmp_path / 'a' / 'train' / '0.txt').write_text('touched')
    assert not sample.write(tmp_path / 'a', num_train=4, seed=7)
    assert (tmp_path / 'a' / 'train' / '0.txt').read_text() == 'touched'


def test_other_parameters_replace_a_sample(tmp_path):
    sample = make_sample()
    sample.write(tmp_path / 'a', num_train=4, seed=7)
    assert sample.write(tmp_path / 'a', num_train=1, seed=8)
    assert count_files(tmp_path / 'a', 'train') == 1


def test_ensure_keeps_a_sample_of_another_size_and_seed(tmp_path):
    make_sample().write(tmp_path / 'a', num_train=4, seed=7)
    assert not make_sample().ensure(tmp_path / 'a')


def test_ensure_replaces_a_sample_of_another_version(tmp_path):
    make_sample(version=1).write(tmp_path / 'a', num_train=4)
    assert make_sample(version=2).ensure(tmp_path / 'a')
    assert count_files(tmp_path / 'a', 'train') == 3


@pytest.mark.parametrize('wrong', [dict(num_train=0), dict(num_val=0), dict(seed=-1)])
def test_wrong_counts_and_seeds_are_refused(tmp_path, wrong):
    with pytest.raises(DataError, match='at least'):
        make_sample().write(tmp_path / 'a', **wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('scope', ['', 'mmseg.', 'convnext_dense.'])
@pytest.mark.parametrize('record', RECORDS.values(), ids=RECORDS)
def test_a_record_is_found_by_its_type(record, scope):
    assert find_record(scope + record.config_type) is record


def test_other_types_have_no_record():
    assert find_record('mmseg.CityscapesDataset') is None


@pytest.mark.parametrize('record', CHECKED_RECORDS.values(), ids=CHECKED_RECORDS)
def test_the_config_of_a_sample_reads_it(record):
    configs = Path(__file__).resolve().parents[2] / 'configs'
    path = configs / f'{record.sample.config}.py'
    assert f'sample/{record.sample.folder}' in path.read_text()
