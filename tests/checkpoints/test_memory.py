"""Loading and converting take at most 1.5 times the memory of the file."""

from contextlib import closing
from pathlib import Path

import pytest
import safetensors.torch
import torch

from convnext_dense.benchmark.memory import measure_peak
from convnext_dense.benchmark.worker import Worker
from convnext_dense.checkpoints import load_pretrained
from convnext_dense.checkpoints.convert_file import convert_checkpoint
from convnext_dense.layers import ConvNeXt

# A file of 60 MB: what Python itself takes is small beside it. docs/checkpoints.md is of 'xlarge'.
ARCH = 'v2_nano'


class Jobs:
    """A backbone whose checkpoints are written, loaded and converted in a fresh process."""

    def __init__(self):
        # Random initialization would take a minute; zeros are written so that the memory is there.
        with torch.device('meta'):
            self.model = ConvNeXt(ARCH)
        self.model = self.model.to_empty(device='cpu')
        for parameter in self.model.parameters():
            torch.nn.init.zeros_(parameter)

    def write(self, folder):
        weights = {name: torch.rand_like(w) for name, w in self.model.state_dict().items()}
        torch.save({'model': weights}, folder / 'weights.pth')
        safetensors.torch.save_file(weights, folder / 'weights.safetensors')

    def load(self, source):
        init_cfg = {'type': 'Pretrained', 'checkpoint': str(source)}
        return measure_peak(lambda: load_pretrained(self.model, init_cfg))

    def convert(self, source):
        target = source.with_name('converted.safetensors')
        return measure_peak(lambda: convert_checkpoint(str(source), target, 'timm', force=True))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('weights')
    with closing(Worker(Jobs)) as worker:
        worker.ask('write', folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize('job', ['load', 'convert'])
@pytest.mark.parametrize('name', ['weights.pth', 'weights.safetensors'])
def test_peak(job, name, folder):
    source = folder / name
    with closing(Worker(Jobs)) as worker:
        ratio = worker.ask(job, source) / source.stat().st_size
    print(f'{ARCH}, {job} {name}: {ratio:.2f} x the file')
    assert 0 < ratio < 1.5


def test_reading_copies_nothing(tmp_path):
    """The tensors lie in the mapped file: reading takes no memory for them."""
    from convnext_dense.checkpoints import convert_state_dict, read_checkpoint
    from convnext_dense.checkpoints.write import write_checkpoint
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
