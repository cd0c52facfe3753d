"""A block's lean form against 'plain' on maps of many sizes, on this machine's CPU: why ``path.SMALL_MAP`` is what it is.

    python benchmarks/cpu_blocks.py [--dims 40 96 192 384 768] [--sides 4 8 16 32 64] [--threads 2]

Each cell: the lean form's time over that of 'full', so above 1 'plain' is faster; ``*``: 'auto' runs as 'full' (a
block after ``optimize_for_inference()`` in the rows 'packed'). One image, fp32, the forms in turn, medians.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # works from a checkout that is not installed

import torch  # noqa: E402
from cpu_operations import time_in_turn  # noqa: E402

from convnext_dense.apis.config import ConfigError  # noqa: E402
from convnext_dense.benchmark import outputs  # noqa: E402
from convnext_dense.benchmark.report import describe_system, format_table, name_cpu, write_json  # noqa: E402
from convnext_dense.layers import ConvNeXtBlock  # noqa: E402

MODES = ('train', 'forward', 'packed')
LARGEST = 2**19  # elements: larger maps are not measured


def step(block: ConvNeXtBlock, x: torch.Tensor, grad: torch.Tensor, mode: str) -> None:
    if mode == 'train':
        block(x).backward(grad)
        block.zero_grad()
        x.grad = None
        return
    with torch.no_grad():
        block(x)


def measure(dim: int, side: int, mode: str, rounds: int) -> dict:
    x = (
        torch.randn(1, dim, side, side)
        .to(memory_format=torch.channels_last)
        .requires_grad_(mode == 'train')
    )
    blocks = {
        form: ConvNeXtBlock(dim, memory=memory).train(mode == 'train')
        for form, memory in (('lean', 'half'), ('plain', 'full'))
    }
    blocks['lean'].optimized = mode == 'packed'
    steps = {
        form: functools.partial(step, block, x, torch.randn_like(x), mode)
        for form, block in blocks.items()
    }
    seconds = time_in_turn(steps, rounds, untimed=4)
    blocks['lean'].memory = 'auto'
    with torch.set_grad_enabled(mode == 'train'):
        chosen = 'plain' if blocks['lean'].why_full(x) else 'lean'
    return dict(mode=mode, dim=dim, side=side, **seconds, chosen=chosen)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--dims', type=int, nargs='+', default=[40, 96, 192, 384, 768], help='channels'
    )
    parser.add_argument(
        '--sides', type=int, nargs='+', default=[4, 8, 16, 32, 64], help='of the square maps'
    )
    parser.add_argument('--rounds', type=int, default=30, help='(default: 30)')
    parser.add_argument('--threads', type=int, help="default: torch's")
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/cpu_blocks'), help='(default: %(default)s)'
    )
    args = parser.parse_args()
    if min(args.rounds, *args.dims, *args.sides, *[args.threads] * (args.threads is not None)) < 1:
        parser.error('--dims, --sides, --rounds and --threads are numbers of 1 or more')
    try:
        outputs.make_folder(args.out)
    except ConfigError as error:
        sys.exit(f'error: {error}')
    if args.threads:
        torch.set_num_threads(args.threads)
    results, table = [], []
    for mode in MODES:
        for dim in args.dims:
            row = [
                measure(dim, side, mode, args.rounds)
                for side in args.sides
                if dim * side * side <= LARGEST
            ]
            results += row
            cells = [
                f'{one["lean"] / one["plain"]:.2f}{"*" * (one["chosen"] == "plain")}' for one in row
            ]
            table.append((mode, str(dim), *cells, *['-'] * (len(args.sides) - len(cells))))
    print(f'{name_cpu()}, {torch.get_num_threads()} threads, torch {torch.__version__}')
    print(
        f"Time of the lean form over that of 'full'; *: 'auto' runs as 'full'; -: over {LARGEST} elements\n"
    )
    print(format_table(('', 'channels', *(f'{side} x {side}' for side in args.sides)), table))
    write_json(
        dict(
            command=' '.join(['python', 'benchmarks/cpu_blocks.py', *sys.argv[1:]]),
            system=describe_system() | dict(threads=torch.get_num_threads()),
            results=results,
        ),
        args.out / 'cpu_blocks.json',
    )
    print(f'written: {args.out}/cpu_blocks.json')


if __name__ == '__main__':
    main()
