"""Write the sample data, or check a data set that was downloaded.

python tools/prepare_data.py sample                                  # drawn scenes, in the layouts of the data sets
python tools/prepare_data.py ade20k --root data/ade/ADEChallengeData2016
python tools/prepare_data.py coco --root data/coco
python tools/prepare_data.py imagenet --root data/imagenet
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # works from a checkout that is not installed

from convnext_dense.data import ade20k, coco, imagenet  # noqa: E402
from convnext_dense.data.checks import CHECKS  # noqa: E402
from convnext_dense.data.sample_folder import read_stamp  # noqa: E402

# What writes sample data, and the config that learns from it.
SAMPLES = {
    'ade20k': (ade20k, 'configs/upernet_convnext_atto_sample.py'),
    'coco': (coco, 'configs/mask_rcnn_convnext_atto_sample.py'),
    'imagenet': (imagenet, 'configs/convnext_atto_sample.py'),
}


def write_sample(args: argparse.Namespace) -> int:
    asked = {
        name: value
        for name, value in (('num_train', args.train), ('num_val', args.val), ('seed', args.seed))
        if value is not None
    }
    if args.config and not args.config.is_file():
        print(f'error: config {args.config} does not exist', file=sys.stderr)
        return 1
    text = args.config.read_text() if args.config else None
    for data, config in SAMPLES.values():
        if text is not None and f'sample/{data.SAMPLE_FOLDER.as_posix()}' not in text:
            continue
        root = args.root / data.SAMPLE_FOLDER
        try:
            written = data.write_sample(root, **asked) if asked else data.ensure_sample(root)
        except (FileExistsError, ValueError) as error:
            print(f'error: {error}', file=sys.stderr)
            return 1
        stamp = read_stamp(root)
        train, val = stamp['counts'].values()
        print(
            f'{"Wrote" if written else "Already there:"} {train} training and {val} validation scenes, '
            f'seed {stamp["seed"]}, in {root}. Train on them: python tools/train.py {config}'
        )
    if text is None:
        print('Any other config: python tools/train.py CONFIG --sample')
    return 0


def check_data(args: argparse.Namespace) -> int:
    data = CHECKS[args.command]
    problems = data.check(args.root, args.full)
    if problems:
        print(f'{data.name} in {args.root}: {len(problems)} problem(s)')
        print(*(f'  wrong: {problem}' for problem in problems), sep='\n')
        return 1
    print(*(f'  right: {line}' for line in data.describe(args.root, args.full)), sep='\n')
    return 0


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Write the sample data, or check a data set that was downloaded.'
    )
    commands = parser.add_subparsers(dest='command', required=True)
    sample = commands.add_parser(
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
    sample.set_defaults(run=write_sample)
    for command, data in CHECKS.items():
        check = commands.add_parser(command, help=f'check a copy of {data.name}')
        check.add_argument(
            '--root', type=Path, required=True, help=f'folder that holds {data.folders}'
        )
        check.add_argument(
            '--full', action='store_true', help='read every file, not a sample: minutes to an hour'
        )
        check.set_defaults(run=check_data)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return args.run(args)


if __name__ == '__main__':
    sys.exit(main())
