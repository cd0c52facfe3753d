"""Write the sample data, or check a data set that was downloaded.

convnext-dense data sample                   # drawn scenes, arranged as each data set is
convnext-dense data ade20k --root data/ade/ADEChallengeData2016
convnext-dense data coco --root data/coco
convnext-dense data imagenet --root data/imagenet
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from convnext_dense.errors import ConfigError

if TYPE_CHECKING:
    from convnext_dense.data import DatasetRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    from convnext_dense.data import CHECKED_RECORDS

    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    sample = actions.add_parser(
        'sample', help='write drawn scenes with known answers, for each kind of data set'
    )
    _add_sample_arguments(sample)
    for name, record in CHECKED_RECORDS.items():
        check = actions.add_parser(name, help=f'check a copy of {record.title}')
        _add_check_arguments(check, record)


def _add_sample_arguments(parser: argparse.ArgumentParser) -> None:
    from convnext_dense.data import SAMPLE_ROOT

    parser.add_argument(
        '--root', type=Path, default=SAMPLE_ROOT, help='folder (default: %(default)s)'
    )
    parser.add_argument(
        '--config', type=Path, help='write only what this config reads (default: everything)'
    )
    parser.add_argument(
        '--train',
        type=int,
        help='number of training scenes (default: what is there, or 64; COCO 192, ImageNet 1280)',
    )
    parser.add_argument(
        '--val',
        type=int,
        help='number of validation scenes (default: what is there, or 16; COCO 48, ImageNet 320)',
    )
    parser.add_argument('--seed', type=int, help='of the scenes (default: what is there, or 0)')
    parser.set_defaults(act=_write_samples)


def _add_check_arguments(parser: argparse.ArgumentParser, record: DatasetRecord) -> None:
    parts = ', '.join(record.parts)
    parser.add_argument('--root', type=Path, required=True, help=f'folder that holds {parts}')
    parser.add_argument(
        '--full', action='store_true', help='read every file, not a sample: minutes to an hour'
    )
    parser.set_defaults(act=_check)


def run(args: argparse.Namespace) -> int:
    """Write the sample data or check a data set; 1 if something is wrong with it."""
    return args.act(args)


def _write_samples(args: argparse.Namespace) -> int:
    from convnext_dense.data import CHECKED_RECORDS

    if args.config and not args.config.is_file():
        raise ConfigError(f'config {args.config} does not exist')
    config_text = args.config.read_text() if args.config else None
    for record in CHECKED_RECORDS.values():
        is_read = config_text is None or f'sample/{record.sample.folder}' in config_text
        if is_read:
            print(_write_sample(record, args))
    if config_text is None:
        print('Any other config: convnext-dense train CONFIG --sample')
    return 0


def _write_sample(record: DatasetRecord, args: argparse.Namespace) -> str:
    """Write the sample of a data set; says what is there now and which config learns from it."""
    from convnext_dense.data import read_stamp

    sample = record.sample
    root = args.root / sample.folder
    if args.train is None and args.val is None and args.seed is None:
        written = sample.ensure(root)
    else:
        written = sample.write(root, args.train, args.val, args.seed or 0)
    stamp = read_stamp(root)
    assert stamp is not None  # written with the scenes
    train, val = stamp['counts'].values()
    done = 'Wrote' if written else 'Already there:'
    return (
        f'{done} {train} training and {val} validation scenes, seed {stamp["seed"]}, in {root}. '
        f'Train on them: convnext-dense train {sample.config}'
    )


def _check(args: argparse.Namespace) -> int:
    from convnext_dense.data import CHECKED_RECORDS

    record = CHECKED_RECORDS[args.action]
    problems = record.check(args.root, args.full)
    if problems:
        print(f'{record.title} in {args.root}: {len(problems)} problem(s)')
        for problem in problems:
            print(f'  wrong: {problem}')
        return 1
    for line in record.describe(args.root, args.full):
        print(f'  right: {line}')
    return 0
