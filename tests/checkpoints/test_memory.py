"""Loading and converting take at most 1.5 times the file."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / 'benchmarks'


@pytest.mark.slow
def test_peak(tmp_path, monkeypatch):
    """A file of 60 MB: what Python itself takes is small beside it."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    from checkpoint_memory import LIMIT, measure

    for job, _, ratio in measure('v2_nano', tmp_path):
        assert 0 < ratio < LIMIT, job


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
