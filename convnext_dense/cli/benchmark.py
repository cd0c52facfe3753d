"""Measure time and memory of our backbone and of every installed library's, on your machine.

Each network runs in a fresh process; in random order, one run of one of them follows another.
Tables, JSON with all samples, and pictures are written to a folder.

convnext-dense benchmark
convnext-dense benchmark --arch base --shape 16x3x512x512 --device cuda --dtype bf16
convnext-dense benchmark --scaling size --networks ours timm
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

from convnext_dense.errors import ConfigError

# Smallest value of each axis of --scaling.
_LEAST_VALUES = {'size': 32, 'batch': 1, 'width': 0.05, 'depth': 0.05}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from convnext_dense.benchmark import networks, plan

    network_names = ', '.join(repr(name) for name in networks.NETWORKS)
    parser.add_argument('--arch', default='tiny', help='atto ... xxlarge, v2_atto ... v2_huge')
    parser.add_argument(
        '--shape',
        type=_parse_shape,
        default='1x3x512x512',
        help='batch x 3 x height x width (default: %(default)s)',
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
        help=f'all, peers, or some of {network_names} (default: all that are installed)',
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
        '--drop-path', type=float, default=0.0, help='rate at the last block (default: 0)'
    )
    parser.add_argument(
        '--scaling', choices=_LEAST_VALUES, help='measure along an axis, not at one shape'
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
    """Measure, print the tables and write them; 1 if no network could be measured."""
    from convnext_dense.benchmark import compare, plan, records, report, scaling

    args.device = args.device or plan.find_device()
    names = choose_networks(args.networks, args.mode)
    _check(args)
    # The first run of a turn takes memory from the system that a training loop has all along.
    untimed, timed = (3, 10) if args.device == 'cuda' else (1, 2)
    limits = {'rounds': args.rounds, 'seconds': args.seconds, 'log': records.log}
    code = 0
    for mode in args.mode:
        setup = plan.Setup(
            arch=args.arch,
            shape=args.shape,
            mode=mode,
            dtype=args.dtype,
            device=args.device,
            threads=args.threads,
            drop_path_rate=args.drop_path,
            untimed=untimed,
            timed=timed,
        )
        candidates = plan.list_candidates(names, args.memory_format, ['', *args.compile], mode)
        if args.scaling:
            results = scaling.scale(candidates, setup, args.scaling, args.values, **limits)
        else:
            results = compare.measure(candidates, setup, **limits)
        written = report.write_report(results, args.out, args.scaling)
        print(written[0].read_text(encoding='utf-8'))
        print('Written:', *written)
        if not any(result.seconds for result in results):
            code = 1
    return code


def choose_networks(names: Iterable[str], modes: Iterable[str]) -> list[str]:
    """Names of networks that can be built here; 'all' and 'peers' stand for all of them.

    Raises:
        ConfigError: a name is not known, its library is not installed, or ``modes`` asks for
            training and no network has a backward pass.
    """
    from convnext_dense.benchmark.networks import NETWORKS, PEERS, find_reason_missing

    groups = {'all': NETWORKS, 'peers': PEERS}
    chosen: list[str] = []
    for name in names:
        if name in groups:
            chosen += [member for member in groups[name] if not find_reason_missing(member)]
            continue
        if name not in NETWORKS:
            known = ', '.join(repr(known) for known in NETWORKS)
            raise ConfigError(f'no network {name!r}; choose from all, peers, {known}')
        reason = find_reason_missing(name)
        if reason:
            raise ConfigError(f'{name!r} cannot be measured: {reason}; install it or leave it out')
        chosen.append(name)
    if 'train' in modes and not any(NETWORKS[name].has_backward for name in chosen):
        raise ConfigError(
            f'{", ".join(map(repr, chosen))} has no backward pass: --mode forward, or add another '
            'network'
        )
    return list(dict.fromkeys(chosen))


def _parse_shape(text: str) -> tuple[int, int, int, int]:
    """(1, 3, 512, 512) from '1x3x512x512'."""
    match = re.fullmatch(r'([1-9]\d*)x3x(\d+)x(\d+)', text)
    if match:
        batch, height, width = (int(number) for number in match.groups())
        if min(height, width) >= 32:
            return batch, 3, height, width
    raise argparse.ArgumentTypeError(
        'a shape is batch x 3 x height x width, such as 1x3x512x512, with sides of 32 or more; '
        f'got {text!r}'
    )


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot run before time is spent.

    Raises:
        ConfigError: the arch, the device, a number or the folder.
    """
    from convnext_dense.benchmark.plan import find_device
    from convnext_dense.variants import get_variant

    try:
        get_variant(args.arch)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if args.device == 'cuda' and find_device() != 'cuda':
        raise ConfigError(
            'there is no CUDA GPU here, or this torch cannot use it; --device cpu measures the CPU'
        )
    if args.rounds < 1:
        raise ConfigError(f'--rounds must be 1 or more; got {args.rounds}')
    if args.threads is not None and args.threads < 1:
        raise ConfigError(f'--threads must be 1 or more; got {args.threads}')
    if not 0 <= args.drop_path < 1:
        raise ConfigError(f'--drop-path is a probability in [0, 1); got {args.drop_path}')
    _check_values(args.scaling, args.values)
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f'--out must be a folder, or a place for one; {args.out}: {error.strerror}'
        ) from None


def _check_values(axis: str, values: Iterable[float]) -> None:
    if values and not axis:
        known = ', '.join(_LEAST_VALUES)
        raise ConfigError(f'--values belong to an axis: add --scaling with one of {known}')
    for value in values:
        least = _LEAST_VALUES[axis]
        if not least <= value < float('inf'):
            raise ConfigError(f'values of {axis!r} are {least:g} or more; got {value:g}')
        if axis in ('size', 'batch') and value != int(value):
            raise ConfigError(f'values of {axis!r} are whole numbers; got {value:g}')
