"""Half memory against full memory in one block, on maps of many sizes, on this machine's CPU.

    python benchmarks/cpu_blocks.py [--dims 40 96 192 384 768] [--sides 4 8 16 32 64] [--threads 2]

It shows on which maps memory='auto' should choose 'full'. Each cell is the time in mode 'half' over
that in mode 'full': above 1, 'full' is faster; * marks where 'auto' runs as 'full'. One fp32 image;
'packed' is a forward pass after ``optimize_for_inference()``. The modes take turns; times are
medians.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from convnext_dense.benchmark.records import format_table, name_cpu, write_record
from convnext_dense.benchmark.timing import time_in_turn
from convnext_dense.layers import ConvNeXtBlock

PASSES = ('train', 'forward', 'packed')
LARGEST = 2**19  # elements of a map; larger ones are not measured


def run_step(block: ConvNeXtBlock, x: Tensor, grad: Tensor) -> None:
    """A training step, or a forward pass without gradients where ``x`` requires none."""
    with torch.set_grad_enabled(x.requires_grad):
        out = block(x)
    if x.requires_grad:
        out.backward(grad)
        block.zero_grad()
        x.grad = None


def measure(dim: int, side: int, which: str, rounds: int) -> dict:
    """Median seconds of a block in both memory modes."""
    x = torch.randn(1, dim, side, side).to(memory_format=torch.channels_last)
    grad = torch.randn_like(x)
    x.requires_grad_(which == 'train')
    blocks = {}
    for memory in ('half', 'full', 'auto'):
        blocks[memory] = ConvNeXtBlock(dim, memory=memory).train(which == 'train')
        blocks[memory].optimized = which == 'packed'
    with torch.set_grad_enabled(which == 'train'):
        auto_runs_full = bool(blocks.pop('auto').why_full(x))
    steps = {memory: partial(run_step, block, x, grad) for memory, block in blocks.items()}
    result = {'pass': which, 'dim': dim, 'side': side, 'auto_runs_full': auto_runs_full}
    return result | time_in_turn(steps, rounds, untimed=4)


def main() -> None:
    """Measure, print the table and write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--dims', type=int, nargs='+', default=[40, 96, 192, 384, 768])
    parser.add_argument('--sides', type=int, nargs='+', default=[4, 8, 16, 32, 64])
    parser.add_argument('--rounds', type=int, default=30)
    parser.add_argument('--threads', type=int, default=torch.get_num_threads())
    parser.add_argument('--out', type=Path, default=Path('work_dirs/cpu_blocks.json'))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results, rows = [], []
    for which in PASSES:
        for dim in args.dims:
            row = [which, str(dim)]
            for side in args.sides:
                if dim * side * side > LARGEST:
                    row.append('-')
                    continue
                result = measure(dim, side, which, args.rounds)
                results.append(result)
                mark = '*' if result['auto_runs_full'] else ''
                row.append(f'{result["half"] / result["full"]:.2f}{mark}')
            rows.append(row)
    print(f'{name_cpu()}, {args.threads} threads, torch {torch.__version__}; half / full\n')
    print(format_table(['pass', 'channels', *(f'{n} x {n}' for n in args.sides)], rows))
    write_record(args.out, results, threads=args.threads)


if __name__ == '__main__':
    main()
