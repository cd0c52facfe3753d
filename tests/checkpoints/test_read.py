"""What is read equals what was written; what is no checkpoint is named; writes are atomic."""

import argparse
import gzip
import io
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import tarfile
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from convnext_dense.checkpoints import read_checkpoint, write
from convnext_dense.checkpoints.read import read_file
from convnext_dense.checkpoints.write import write_checkpoint
from convnext_dense.errors import CheckpointError

WEIGHTS = {
    'a.weight': torch.arange(12.0).reshape(3, 4),
    'a.bias': torch.tensor([1.0, -2.0, 0.5]),
    'half': torch.ones(3).bfloat16(),
    'count': torch.tensor(7),
    'none': torch.zeros(0, 2),
}


def assert_same(first, second):
    assert list(first) == list(second) or set(first) == set(second)
    for name, value in first.items():
        assert value.dtype == second[name].dtype and torch.equal(value, second[name]), name


@pytest.mark.parametrize('name', ['w.pth', 'w.pt', 'w.bin', 'w.safetensors'])
def test_round_trip(tmp_path, name):
    write_checkpoint(WEIGHTS, tmp_path / name)
    assert_same(WEIGHTS, read_file(tmp_path / name))
    assert_same(WEIGHTS, read_checkpoint(str(tmp_path / name)))
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_the_format_is_told_from_the_bytes(tmp_path):
    save_file(WEIGHTS, tmp_path / 'w.pth')
    torch.save(WEIGHTS, tmp_path / 'w.safetensors')
    torch.save(WEIGHTS, tmp_path / 'old.pkl', _use_new_zipfile_serialization=False)
    for name in ('w.pth', 'w.safetensors', 'old.pkl'):
        assert_same(WEIGHTS, read_file(tmp_path / name))


def test_values_of_training_files(tmp_path):
    """A command line, paths and numpy's numbers, arrays and text are read as what they are."""
    torch.save(
        dict(
            model=WEIGHTS,
            args=argparse.Namespace(lr=4e-3, output=pathlib.Path('a/b')),
            best=np.float32(1.5),
            arrays=[
                np.asfortranarray(np.arange(6).reshape(2, 3)),
                (np.array(['sky', 'tree']), np.arange(2, dtype='>i4')),
            ],
            flags=np.array([True, False]),
        ),
        tmp_path / 'c.pth',
    )
    content = read_file(tmp_path / 'c.pth')
    assert content['args'].lr == 4e-3 and str(content['args'].output) == 'a/b'
    assert content['best'] == 1.5 and isinstance(content['best'], np.float32)
    assert content['arrays'][0].tolist() == [[0, 1, 2], [3, 4, 5]] and content['arrays'][1][
        1
    ].tolist() == [0, 1]
    assert content['arrays'][1][0].tolist() == ['sky', 'tree'] and content['flags'].tolist() == [
        True,
        False,
    ]
    assert type(content['flags']) is np.ndarray and content['flags'].flags.writeable
    assert_same(WEIGHTS, read_checkpoint(tmp_path / 'c.pth'))


def test_reading_in_threads(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    torch.save(dict(args=argparse.Namespace(lr=1), model={'w': torch.ones(1)}), tmp_path / 'a.pth')
    with ThreadPoolExecutor(8) as pool:
        assert all(
            one['model']['w'] == 1 for one in pool.map(read_file, [tmp_path / 'a.pth'] * 100)
        )
    assert set(torch.serialization.get_safe_globals()) == before


def test_numpy_1_names_are_read(tmp_path):
    torch.save(dict(a=np.arange(3.0), b=np.float64(2)), tmp_path / 'new.pth')
    with (
        zipfile.ZipFile(tmp_path / 'new.pth') as new,
        zipfile.ZipFile(tmp_path / 'old.pth', 'w') as old,
    ):
        for info in new.infolist():
            old.writestr(info.filename, new.read(info).replace(b'numpy._core', b'numpy.core'))
    assert b'numpy.core.multiarray' in (tmp_path / 'old.pth').read_bytes()
    content = read_file(tmp_path / 'old.pth')
    assert content['a'].tolist() == [0, 1, 2] and content['b'] == 2


def test_a_thing_inside_itself_or_often_is_read_once(tmp_path):
    loop = [np.arange(2)]
    loop.append(loop)
    many = [np.arange(2)]
    for _ in range(64):
        many = [many, many]  # 2^64 paths
    torch.save(dict(loop=loop, many=many), tmp_path / 'c.pth')
    content = read_file(tmp_path / 'c.pth')
    assert content['loop'][1] is content['loop'] and content['loop'][0].tolist() == [0, 1]


def test_safetensors_takes_tied_and_transposed_tensors(tmp_path):
    tied = torch.randn(4, 5)
    content = dict(
        first=tied,
        second=tied,
        turned=tied.t(),
        part=torch.arange(10.0)[2:5],
        parameter=torch.nn.Parameter(torch.ones(2)),
        wide=torch.ones(1).expand(3),
    )
    write_checkpoint(content, tmp_path / 'w.safetensors')
    assert_same(
        {name: value.detach() for name, value in content.items()},
        read_file(tmp_path / 'w.safetensors'),
    )
    with pytest.raises(CheckpointError, match='names and tensors only.*epoch: int'):
        write_checkpoint(dict(epoch=1), tmp_path / 'w.safetensors')
    assert read_file(tmp_path / 'w.safetensors')['first'].shape == (4, 5)


def test_a_mapped_file_is_not_written_to(tmp_path):
    for name in ('w.pth', 'w.safetensors'):
        write_checkpoint(WEIGHTS, tmp_path / name)
        content = read_file(tmp_path / name)
        content['a.bias'].zero_()
        assert read_file(tmp_path / name)['a.bias'].tolist() == [1, -2, 0.5]
        write_checkpoint(content, tmp_path / name)  # onto the file that it is mapped from
        assert_same(content, read_file(tmp_path / name))


def test_packed_anew_by_zip_and_without_checksums(tmp_path):
    torch.save(WEIGHTS, tmp_path / 'w.pth')
    with (
        zipfile.ZipFile(tmp_path / 'w.pth') as stored,
        zipfile.ZipFile(tmp_path / 'packed.pth', 'w', zipfile.ZIP_DEFLATED) as packed,
    ):
        for info in stored.infolist():
            packed.writestr(info.filename, stored.read(info))
    assert_same(WEIGHTS, read_file(tmp_path / 'packed.pth'))
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(WEIGHTS, tmp_path / 'unchecked.pth')
    finally:
        torch.serialization.set_crc32_options(True)
    assert_same(WEIGHTS, read_file(tmp_path / 'unchecked.pth'))


def _zip(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        for name, content in members.items():
            archive.writestr(name.replace('__', '/'), content)
    return buffer.getvalue()


def _npz():
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones(2))
    return buffer.getvalue()


def _tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        archive.addfile(tarfile.TarInfo('w.pth'))
    return buffer.getvalue()


def _torch(cut: float):
    buffer = io.BytesIO()
    torch.save(WEIGHTS, buffer)
    return buffer.getvalue()[: int(len(buffer.getvalue()) * cut)]


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'it is empty'),
        (b'\n <!DOCTYPE html><html><title>Log in</title>', r'a web page.*login'),
        (
            b'version https://git-lfs.github.com/spec/v1\noid sha256:1',
            'a Git LFS pointer.*git lfs pull',
        ),
        (b'{"error": "Repository not found"}', 'text, beginning \'."error"'),
        (b'\0' * 5000, 'all zeros'),
        (np.random.RandomState(0).bytes(500), 'no format known here'),
        (gzip.compress(b'x'), 'compressed by gzip: unpack'),
        (_tar(), 'a tar archive'),
        (_zip(readme=b'x'), 'a zip archive without weights, of readme'),
        (
            _zip(m__constants__pkl=b'x').replace(b'constants/pkl', b'constants.pkl'),
            'a TorchScript archive, a program',
        ),
        (_npz(), r'an archive of numpy arrays \(.npz\)'),
        (b'\x93NUMPY\x01\0', 'a numpy array'),
        (b'\x08\x08\x12\x07pytorch\x1a\x062.11.0', 'an ONNX model'),
        (b'\x89HDF\r\n\x1a\n', 'an HDF5 file'),
        (_torch(0.5), 'cut off or damaged'),
        (_torch(0.99), 'cut off or damaged'),
        ((9999).to_bytes(8, 'little') + b'{"a":{}}', 'a .safetensors file that is cut off.*9,999'),
        (pickle.dumps(dict(a=1)), 'a pickle that torch.save did not write'),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path, content, words):
    (tmp_path / 'weights.pth').write_bytes(content)
    with pytest.raises(
        CheckpointError, match=f'weights.pth cannot be read as a checkpoint: .*{words}'
    ) as caught:
        read_file(tmp_path / 'weights.pth')
    assert '\n' not in str(caught.value)


def test_a_real_torchscript_archive_is_refused(tmp_path):
    """The members' names above are those that torch writes."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        torch.jit.save(
            torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)), str(tmp_path / 'm.pt')
        )
    with pytest.raises(CheckpointError, match='a TorchScript archive'):
        read_file(tmp_path / 'm.pt')


def test_no_weights_or_no_file(tmp_path):
    torch.save(dict(epoch=3), tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match=r"other.pth holds no weights.*\['epoch'\]"):
        read_checkpoint(tmp_path / 'other.pth')
    with pytest.raises(FileNotFoundError, match='^checkpoint .*nothing.pth does not exist'):
        read_checkpoint(tmp_path / 'nothing.pth')


def test_averaged_weights_on_request(tmp_path):
    torch.save(
        dict(model=dict(w=torch.ones(1)), model_ema=dict(w=torch.zeros(1))), tmp_path / 'c.pth'
    )
    assert (
        read_checkpoint(tmp_path / 'c.pth')['w'] == 1
        and read_checkpoint(tmp_path / 'c.pth', ema=True)['w'] == 0
    )


@pytest.mark.parametrize('name', ['w.pth', 'w.safetensors'])
def test_a_failed_write_leaves_the_old_file(tmp_path, name, monkeypatch):
    write_checkpoint(WEIGHTS, tmp_path / name)
    before = (tmp_path / name).read_bytes()

    def fail(path):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(write, '_sync', fail)
    with pytest.raises(OSError, match='No space left'):
        write_checkpoint({'a': torch.ones(3)}, tmp_path / name)
    assert (tmp_path / name).read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_killed_while_writing(tmp_path):
    """The file of before stays whole, and the next writing removes what was left half written."""
    write_checkpoint(WEIGHTS, tmp_path / 'w.pth')
    code = (
        'import os, signal, sys\nfrom convnext_dense.checkpoints.write import written_atomically\n'
        'with written_atomically(sys.argv[1]) as path:\n    path.write_bytes(b"half")\n'
        '    os.kill(os.getpid(), signal.SIGKILL)'
    )
    run = subprocess.run([sys.executable, '-c', code, str(tmp_path / 'w.pth')])
    assert run.returncode == -signal.SIGKILL and len(list(tmp_path.iterdir())) == 2
    assert_same(WEIGHTS, read_file(tmp_path / 'w.pth'))
    write_checkpoint(WEIGHTS, tmp_path / 'w.pth')
    assert os.listdir(tmp_path) == ['w.pth']
