"""Every figure of a GPU that the documentation asks for, by one call; table and JSON.

    python benchmarks/gpu.py                                  about 8 minutes on an H200: T, then B and L
    python benchmarks/gpu.py --only backbones --arch tiny     one part with all the time: more peers are compiled
    python benchmarks/gpu.py --toy                            no GPU: small sizes in Triton's interpreter

Parts, in the order in which they are measured: facts (versions, rates of a copy and of a matrix product),
operations (each by Triton, torch and cuDNN, its error first), backbones (every peer and our forms, in turn; the fastest
compiled as time allows), memory (bytes kept for backward, peaks, errors of our modes), residual (the residual stream in
fp32 and bf16), tune (tiles of the depthwise kernel; only with --tune). A part runs in a process of its own, which goes
on behind whatever breaks the GPU. The JSON is written after each item, so a run that is cut keeps what it has.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # works from a checkout that is not installed

import gpu_print  # noqa: E402  (neither imports torch: the parts' processes do)
import gpu_table  # noqa: E402

# part -> its module and what measures it for an arch
PARTS = {
    'facts': [('gpu_facts', 'measure_facts')],
    'operations': [('gpu_operations', 'measure_operations')],
    'backbones': [('gpu_backbones', 'measure_backbones')],
    'memory': [('gpu_modes', 'measure_agreement'), ('gpu_modes', 'measure_memory')],
    'residual': [('gpu_modes', 'measure_residual')],
    'tune': [('gpu_tune', 'measure_tiles')],
}
# Processes in their order: (parts, arch, share of the time that is then left to it and those after it)
PLAN = [
    (('facts', 'operations'), 'tiny', 100),
    (('backbones',), 'tiny', 170),
    (('memory', 'residual'), 'tiny', 45),
    (('backbones',), 'base', 70),
    (('backbones',), 'large', 70),
    (('memory',), 'base', 15),
    (('memory',), 'large', 15),
    (('tune',), 'tiny', 60),
    (('operations',), 'base', 20),
    (('operations',), 'large', 20),
]
SHAPES, TOY_SHAPES = [(16, 3, 512, 512), (2, 3, 800, 1344)], [(1, 3, 32, 32)]
PEERS = ['timm', 'timm conv_mlp', 'torchvision', 'transformers', 'mmpretrain', 'authors']
GRACE = 15  # seconds that a process may take longer than it was given
NO_GPU, BROKEN = 4, 3  # exit statuses of a part's process


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--minutes', type=float, default=8, help='for everything (default: 8)')
    parser.add_argument('--only', nargs='+', choices=PARTS, help='parts to measure (default: all)')
    parser.add_argument(
        '--arch', nargs='+', choices=['tiny', 'base', 'large'], default=['tiny', 'base', 'large']
    )
    parser.add_argument('--peers', nargs='+', choices=PEERS, default=PEERS)
    parser.add_argument(
        '--tune', action='store_true', help='also sweep the tiles of the depthwise kernel'
    )
    parser.add_argument(
        '--toy',
        action='store_true',
        help='small sizes on the CPU: shows that it runs, and no figure',
    )
    parser.add_argument(
        '--out', type=Path, help='the JSON (default: work_dirs/gpu.json, gpu_toy.json with --toy)'
    )
    parser.add_argument(
        '--part-of', nargs=3, metavar=('PARTS', 'ARCH', 'ENDS'), help=argparse.SUPPRESS
    )
    args = parser.parse_args(arguments)
    args.out = args.out or ROOT / 'work_dirs' / ('gpu_toy.json' if args.toy else 'gpu.json')
    if args.minutes <= 0 or args.out.is_dir():
        parser.error(
            f'--minutes must be more than 0, and --out a file; got {args.minutes:g} and {args.out}'
        )
    return args


def plan(args: argparse.Namespace) -> list[tuple[list[str], str, float]]:
    """What runs: the rows of PLAN that are asked for; all in one process for a toy."""
    wanted = args.only or [part for part in PARTS if part != 'tune' or args.tune]
    if args.toy:
        return [(wanted, 'toy', 1.0)]
    rows = [
        ([part for part in parts if part in {'facts', *wanted}], arch, share)
        for parts, arch, share in PLAN
    ]
    rows = [row for row in rows if row[0] and (row[1] in args.arch or 'facts' in row[0])]
    return [(parts if arch in args.arch else ['facts'], arch, share) for parts, arch, share in rows]


def measure(args: argparse.Namespace, parts: list[str], arch: str, ends: float) -> int:
    """Processes of these parts until one ends well or the time is over; the last one's exit status."""
    command = [
        sys.executable,
        __file__,
        '--out',
        args.out,
        '--part-of',
        ','.join(parts),
        arch,
        str(ends),
    ]
    environment = os.environ | ({'TRITON_INTERPRET': '1'} if args.toy else {})
    status = BROKEN
    while status not in (0, NO_GPU) and time.time() < ends:
        try:
            status = subprocess.run(
                command, env=environment, timeout=ends + GRACE - time.time()
            ).returncode
        except subprocess.TimeoutExpired:
            print(f'{parts} for {arch} were cut', file=sys.stderr)
            break
        if status not in (0, NO_GPU, BROKEN) and status > 0:
            break  # a mistake in here: the same would happen again
    return status


def run_parts(args: argparse.Namespace) -> int:
    """In a process of its own: what ``measure`` asked for."""
    import torch
    from gpu_run import Run

    parts, arch, ends = args.part_of
    if not json.loads(args.out.read_text())['settings']['toy'] and not torch.cuda.is_available():
        return NO_GPU
    sys.path.append(str(ROOT / '.peers'))  # mmpretrain, which cannot stand beside the rest
    torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32 = True, False
    torch._dynamo.config.automatic_dynamic_shapes, torch._dynamo.config.recompile_limit = False, 64
    run = Run(args.out, float(ends))
    if run.toy:
        torch.compiler.set_stance('force_eager')
    for part in parts.split(','):
        for module, function in PARTS[part]:
            start = time.time()
            try:
                getattr(importlib.import_module(module), function)(run, arch)
            except (
                Exception
            ) as error:  # a package that is not there, a mistake in the part: the others go on
                run.at('failed')[f'{function} {arch}'] = f'{type(error).__name__}: {error}'
                traceback.print_exc()
            run.at('seconds')[f'{function} {arch}'] = round(time.time() - start, 1)
            run.write()
    return 0


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    if args.part_of:
        return run_parts(args)
    start, rows = time.time(), plan(args)
    settings = {
        'toy': args.toy,
        'note': 'toy: times mean nothing' if args.toy else '',
        'minutes': args.minutes,
        'shapes': TOY_SHAPES if args.toy else SHAPES,
        'peers': args.peers,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    before = args.out.read_text() if args.out.exists() else None
    args.out.write_text(json.dumps({'settings': settings}))
    for index, (parts, arch, share) in enumerate(rows):
        left = start + 60 * args.minutes - GRACE - time.time()
        ends = time.time() + left * share / sum(row[2] for row in rows[index:])
        print(
            f'{" and ".join(parts)}, {arch}: {ends - time.time():.0f} s',
            file=sys.stderr,
            flush=True,
        )
        if measure(args, parts, arch, ends) == NO_GPU:
            args.out.write_text(before) if before else args.out.unlink()
            print(
                'no CUDA GPU is found: run this on a machine with one (compute capability 8.0 or newer) and a torch '
                'built for it; --toy goes through it here, at sizes that say nothing of speed',
                file=sys.stderr,
            )
            return 1
    report = json.loads(args.out.read_text())
    gpu_table.conclude(report)
    report.setdefault('seconds', {})['all'] = round(time.time() - start, 1)
    args.out.write_text(json.dumps(report, indent=1) + '\n')
    print('\n'.join(gpu_print.lines(report)))
    print(f'\n{report["seconds"]["all"]:.0f} s; all figures: {args.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
