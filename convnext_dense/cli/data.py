"""Write the sample data, or check a data set that was downloaded.

convnext-dense data sample                   # drawn scenes, in the layouts of the data sets
convnext-dense data ade20k --root data/ade/ADEChallengeData2016
convnext-dense data coco --root data/coco
convnext-dense data imagenet --root data/imagenet
"""

from __future__ import annotations

import argparse
from pathlib import Path

from convnext_dense.errors import ConfigError, DataError

# The data sets with drawn samples, and for each the config that learns from its sample.
SAMPLE_CONFIGS = {
    'ade20k': 'upernet_convnext_atto_sample',
    'coco': 'mask_rcnn_convnext_atto_sample',
    'imagenet': 'convnext_atto_sample',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions and their options."""
    from convnext_dense.data.checks import CHECKS

    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    sample = actions.add_parser(
        'sample', help='write drawn scenes with known answers, for each kind of data set'
    )
    sample.add_argument(
        '--root', type=Path, default=Path('data/sample'), help='folder (default: %(default)s)'
    )
    sample.add_argument(
        '--config', type=Path, help='write only what this config reads (default: everything)'
    )
    sample.add_argument(
        '--train',
        type=int,
        help='number of training scenes (default: what is there, or 64; COCO 192, ImageNet 1280)',
    )
    sample.add_argument(
        '--val',
        type=int,
        help='number of validation scenes (default: what is there, or 16; COCO 48, ImageNet 320)',
    )
    sample.add_argument('--seed', type=int, help='of the scenes (default: what is there, or 0)')
    sample.set_defaults(act=_write_sample)
    for name, data in CHECKS.items():
        check = actions.add_parser(name, help=f'check a copy of {data.name}')
        check.add_argument(
            '--root', type=Path, required=True, help=f'folder that holds {data.folders}'
        )
        check.add_argument(
            '--full', action='store_true', help='read every file, not a sample: minutes to an hour'
        )
        check.set_defaults(act=_check)


def run(args: argparse.Namespace) -> int:
    """Write the sample data or check a data set; 1 if something is wrong with it."""
    return args.act(args)


def _write_sample(args: argparse.Namespace) -> int:
    from convnext_dense.data import ade20k, coco, imagenet
    from convnext_dense.data.sample_folder import read_stamp

    if args.config and not args.config.is_file():
        raise ConfigError(f'config {args.config} does not exist')
    text = args.config.read_text() if args.config else None
    given = dict(num_train=args.train, num_val=args.val, seed=args.seed)
    asked = {name: value for name, value in given.items() if value is not None}
    for data, config in zip((ade20k, coco, imagenet), SAMPLE_CONFIGS.values(), strict=True):
        if text is not None and f'sample/{data.SAMPLE_FOLDER.as_posix()}' not in text:
            continue
        root = args.root / data.SAMPLE_FOLDER
        try:
            written = data.write_sample(root, **asked) if asked else data.ensure_sample(root)
        except (FileExistsError, ValueError) as error:
            raise DataError(str(error)) from error
        stamp = read_stamp(root)
        assert stamp is not None  # written with the scenes
        train, val = stamp['counts'].values()
        print(
            f'{"Wrote" if written else "Already there:"} {train} training and {val} validation '
            f'scenes, seed {stamp["seed"]}, in {root}. '
            f'Train on them: python tools/train.py configs/{config}.py'
        )
    if text is None:
        print('Any other config: python tools/train.py CONFIG --sample')
    return 0


def _check(args: argparse.Namespace) -> int:
    from convnext_dense.data.checks import CHECKS

    data = CHECKS[args.action]
    problems = data.check(args.root, args.full)
    if problems:
        print(f'{data.name} in {args.root}: {len(problems)} problem(s)')
        print(*(f'  wrong: {problem}' for problem in problems), sep='\n')
        return 1
    print(*(f'  right: {line}' for line in data.describe(args.root, args.full)), sep='\n')
    return 0
