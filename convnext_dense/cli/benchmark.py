"""Time and memory of our backbone and of every installed library's, on your machine.

convnext-dense benchmark
convnext-dense benchmark --arch base --shape 16x3x512x512 --device cuda --dtype bf16
convnext-dense benchmark --scaling size --networks ours timm
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from convnext_dense.benchmark import plan, scaling

    parser.add_argument(
        '--arch', default='tiny', help='atto ... xxlarge, v2_atto ... v2_huge (default: tiny)'
    )
    parser.add_argument(
        '--shape', default='1x3x512x512', help='batch x 3 x height x width (default: %(default)s)'
    )
    parser.add_argument(
        '--mode',
        nargs='+',
        default=list(plan.MODES),
        choices=plan.MODES,
        help='train: forward and backward (default: both)',
    )
    parser.add_argument(
        '--networks',
        nargs='+',
        default=['all'],
        metavar='NAME',
        help=f'all, peers, or some of {", ".join(map(repr, plan.NETWORKS))} (default: all)',
    )
    parser.add_argument(
        '--memory-format',
        nargs='+',
        default=['channels_last'],
        choices=plan.FORMATS,
        help='of input and weights (default: channels_last)',
    )
    parser.add_argument(
        '--compile',
        nargs='+',
        default=[],
        choices=plan.COMPILE_MODES,
        metavar='MODE',
        help='also under torch.compile: default, max-autotune, ...; about a minute per network',
    )
    parser.add_argument(
        '--dtype', default='fp32', choices=plan.DTYPES, help='of autocast (default: fp32, none)'
    )
    parser.add_argument(
        '--device', choices=['cpu', 'cuda'], help='(default: cuda where it is there)'
    )
    parser.add_argument('--threads', type=int, help="of a CPU (default: torch's)")
    parser.add_argument(
        '--drop-path',
        type=float,
        default=0.0,
        help='stochastic depth at the last block (default: 0)',
    )
    parser.add_argument(
        '--malloc',
        default='default',
        choices=plan.MALLOCS,
        help='keep: glibc keeps freed blocks, which saves page faults; exact: for peaks, not times',
    )
    parser.add_argument(
        '--scaling', choices=list(scaling.AXES), help='measure along an axis, not at one shape'
    )
    parser.add_argument(
        '--values',
        type=float,
        nargs='+',
        default=[],
        metavar='V',
        help='of the axis: sides in pixels, images, factors on widths or depths',
    )
    parser.add_argument('--rounds', type=int, default=5, help='turns of each network (default: 5)')
    parser.add_argument(
        '--seconds', type=float, default=40.0, help='no new round after this time (default: 40)'
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('work_dirs/benchmark'),
        help='folder of tables, JSON and pictures (default: %(default)s)',
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print the tables and write them; 1 if a network could not be measured."""
    from convnext_dense.benchmark import compare, outputs, plan, report, scaling

    names, device = plan.choose(args.networks), args.device or plan.default_device()
    plan.check_modes(names, args.mode)
    plan.check(args.arch, device, args.rounds, args.drop_path, args.threads)
    scaling.check(args.scaling, args.values)
    shape = plan.parse_shape(args.shape)
    outputs.make_folder(args.out)
    # The first run of a turn takes memory from the system that a training loop has all along.
    failed, turn = (
        False,
        dict(untimed=3, timed=10) if device == 'cuda' else dict(untimed=1, timed=2),
    )
    for mode in args.mode:
        setup = plan.Setup(
            args.arch,
            shape,
            mode,
            args.dtype,
            device,
            args.threads,
            args.drop_path,
            args.malloc,
            **turn,
        )
        candidates = plan.list_candidates(names, args.memory_format, ['', *args.compile], mode)
        how = dict(rounds=args.rounds, seconds=args.seconds, log=report.log)
        if args.scaling:
            curves = scaling.scale(candidates, setup, args.scaling, args.values, **how)
            results, written = (
                [r for curve in curves for _, r in curve.points],
                outputs.write_curves(curves, args.out),
            )
        else:
            results = compare.measure(candidates, setup, **how)
            written = outputs.write_comparison(results, args.out)
        failed |= not any(result.seconds for result in results)
        print(written[0].read_text(encoding='utf-8'))
        print('Written:', *written)
    return int(failed)
