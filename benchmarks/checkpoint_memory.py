"""Memory that loading and converting a checkpoint takes, against the size of its file. Linux only.

    python benchmarks/checkpoint_memory.py [--arch xlarge] [--folder FOLDER]

Writes files of random weights, and does each job in a fresh process. The peak is the highest
resident memory above that before the job. It counts the pages of the mapped file, which the system
can drop at any time. The model to load into is there before. Exit code 1: a peak is too high.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import safetensors.torch
import torch

from convnext_dense.apis import convert_checkpoint
from convnext_dense.benchmark.memory import MIB, measure_peak
from convnext_dense.benchmark.records import format_number, format_table
from convnext_dense.benchmark.worker import Worker
from convnext_dense.checkpoints import load_pretrained
from convnext_dense.layers import ConvNeXt

LIMIT = 1.5  # times the file's size
JOBS = ('load', 'convert to .pth', 'convert to .safetensors')


class Jobs:
    """A backbone whose checkpoints are written, loaded and converted in this process."""

    def __init__(self, arch: str):
        # Random initialization would take a minute; zeros are written so that the memory is there.
        with torch.device('meta'):
            self.model = ConvNeXt(arch)
        self.model = self.model.to_empty(device='cpu')
        for parameter in self.model.parameters():
            torch.nn.init.zeros_(parameter)

    def write(self, folder: Path) -> None:
        """Random weights as weights.pth and weights.safetensors."""
        weights = {name: torch.rand_like(w) for name, w in self.model.state_dict().items()}
        torch.save({'model': weights}, folder / 'weights.pth')
        safetensors.torch.save_file(weights, folder / 'weights.safetensors')

    def measure(self, job: str, source: Path) -> int | None:
        """Peak bytes of one of ``JOBS``; converting is to timm's layout."""
        if job == 'load':
            init_cfg = {'type': 'Pretrained', 'checkpoint': str(source)}
            return measure_peak(lambda: load_pretrained(self.model, init_cfg))
        target = source.with_name(job.replace('convert to ', f'{source.suffix[1:]}_as_timm'))
        return measure_peak(lambda: convert_checkpoint(str(source), target, to='timm'))


def measure(arch: str, folder: Path) -> list[tuple[str, int, float]]:
    """(name, peak bytes, peak over the file's size) of each job with each kind of file."""
    with closing(Worker(Jobs, arch)) as worker:
        worker.ask('write', folder)
    figures = []
    for source in (folder / 'weights.pth', folder / 'weights.safetensors'):
        for job in JOBS:
            with closing(Worker(Jobs, arch)) as worker:
                peak = worker.ask('measure', job, source)
            figures.append((f'{job}, from {source.suffix}', peak, peak / source.stat().st_size))
    return figures


def main() -> int:
    """Measure and print a table; 1 if a job takes more than ``LIMIT``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--arch', default='xlarge')
    parser.add_argument('--folder', help='where the files are while this runs (default: temporary)')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        figures = measure(args.arch, Path(folder))
    rows = [(name, format_number(peak, MIB), f'{ratio:.2f}') for name, peak, ratio in figures]
    print(format_table((args.arch, 'peak MiB', 'x file'), rows))
    return int(max(ratio for _, _, ratio in figures) > LIMIT)


if __name__ == '__main__':
    sys.exit(main())
