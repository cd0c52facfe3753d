import pytest

from convnext_dense.data.sample_folder import read_stamp, write_folder
from convnext_dense.errors import DataError


def write_two(folder):
    (folder / 'deep').mkdir()
    (folder / 'a').write_text('1')
    (folder / 'deep' / 'b').write_text('2')


def fail(folder):
    (folder / 'a').write_text('1')
    raise RuntimeError('disk on fire')


def never(folder):
    raise AssertionError('written again')


def test_written_once(tmp_path):
    root = tmp_path / 'x' / 'data'
    assert write_folder(root, dict(seed=1), write_two)
    assert read_stamp(root) == dict(seed=1)
    assert not write_folder(root, dict(seed=1), never)
    assert [path.name for path in root.parent.iterdir()] == ['data']


def test_other_parameters_replace_it(tmp_path):
    write_folder(tmp_path / 'data', dict(seed=1), write_two)
    assert write_folder(
        tmp_path / 'data', dict(seed=2), lambda folder: (folder / 'c').write_text('3')
    )
    assert not (tmp_path / 'data' / 'a').exists() and (tmp_path / 'data' / 'c').read_text() == '3'


def test_a_lost_file_is_noticed(tmp_path):
    write_folder(tmp_path / 'data', {}, write_two)
    (tmp_path / 'data' / 'deep' / 'b').unlink()
    assert write_folder(tmp_path / 'data', {}, write_two)
    assert (tmp_path / 'data' / 'deep' / 'b').exists()


def test_a_failure_leaves_nothing_new_and_keeps_the_old(tmp_path):
    with pytest.raises(RuntimeError, match='disk on fire'):
        write_folder(tmp_path / 'data', {}, fail)
    assert not list(tmp_path.iterdir())
    write_folder(tmp_path / 'data', dict(seed=1), write_two)
    with pytest.raises(RuntimeError, match='disk on fire'):
        write_folder(tmp_path / 'data', dict(seed=2), fail)
    assert not write_folder(tmp_path / 'data', dict(seed=1), never)
    assert [path.name for path in tmp_path.iterdir()] == ['data']


def test_two_processes_at_once(tmp_path):
    """The other one finishes while we write: its folder stays, ours goes."""

    def write(folder):
        write_two(folder)
        if not (tmp_path / 'data').exists():
            write_folder(tmp_path / 'other', {}, write_two)
            (tmp_path / 'other').rename(tmp_path / 'data')

    assert not write_folder(tmp_path / 'data', {}, write)
    assert [path.name for path in tmp_path.iterdir()] == ['data']


@pytest.mark.parametrize('stamp', [None, 'not json', '[]', '{"parameters": 3}'])
def test_foreign_data_is_left_alone(tmp_path, stamp):
    (tmp_path / 'precious').write_text('mine')
    if stamp:
        (tmp_path / 'convnext_dense_sample.json').write_text(stamp)
    with pytest.raises(DataError, match='not a drawn sample'):
        write_folder(tmp_path, {}, write_two)
    assert (tmp_path / 'precious').read_text() == 'mine'


def test_an_empty_folder_and_a_link_to_one_are_filled(tmp_path):
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'real')
    assert write_folder(tmp_path / 'link', {}, write_two)
    assert (tmp_path / 'link').is_symlink() and (tmp_path / 'real' / 'a').exists()
