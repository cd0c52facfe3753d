"""Loading and converting take at most 1.5 times the file; ``benchmarks/checkpoint_memory.py`` measures xlarge."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[2] / 'benchmarks' / 'checkpoint_memory.py'
ARCH = 'v2_nano'  # 60 MB: small beside it is what Python itself takes on the way


def run(*job):
    return subprocess.run(
        [sys.executable, BENCHMARK, '--work', *map(str, job)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('weights')
    run('prepare', folder, ARCH, '-')
    return folder


@pytest.mark.slow
@pytest.mark.parametrize('job', ['load', 'convert'])
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_peak(folder, job, suffix):
    source = folder / f'weights{suffix}'
    peak, own, _ = map(float, run(job, source, ARCH, folder / 'out.safetensors').split())
    size = source.stat().st_size / 1e6
    assert 0 < peak < 1.5 * size and own < 0.6 * size, (peak, own, size)


def test_reading_copies_nothing(tmp_path):
    """The tensors lie in the mapped file: reading takes no memory for them."""
    from convnext_dense.checkpoints import convert_state_dict, read_checkpoint
    from convnext_dense.checkpoints.read import write_checkpoint
    from convnext_dense.layers import ConvNeXt

    weights = ConvNeXt(dict(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8))).state_dict()
    for name in ('w.pth', 'w.safetensors'):
        write_checkpoint(weights, tmp_path / name)
        read = read_checkpoint(tmp_path / name)
        maps = [
            tuple(int(end, 16) for end in line.split()[0].split('-'))
            for line in Path('/proc/self/maps').read_text().splitlines()
            if line.endswith(f'/{name}')
        ]
        for tensor in [*read.values(), *convert_state_dict(read, to='timm').values()]:
            assert any(start <= tensor.data_ptr() < end for start, end in maps), name
