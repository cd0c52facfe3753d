"""Write the sample data, or check a data set that was downloaded.

    python tools/prepare_data.py sample                                  # drawn scenes in ADE20K's layout
    python tools/prepare_data.py ade20k --root data/ade/ADEChallengeData2016
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # works from a checkout that is not installed

from convnext_dense.data import ade20k  # noqa: E402


def write_sample(args: argparse.Namespace) -> int:
    root = args.root / ade20k.SAMPLE_FOLDER
    asked = {name: value for name, value in (('num_train', args.train), ('num_val', args.val), ('seed', args.seed))
             if value is not None}
    try:
        written = ade20k.write_sample(root, **asked) if asked else ade20k.ensure_sample(root)
    except (FileExistsError, ValueError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    stamp = ade20k.read_stamp(root)
    print(f'{"Wrote" if written else "Already there:"} {stamp["counts"]["training"]} training and '
          f'{stamp["counts"]["validation"]} validation scenes, seed {stamp["seed"]}, in {root}')
    print('Train on them: python tools/train.py configs/upernet_convnext_atto_sample.py\n'
          'Any other config: python tools/train.py CONFIG --sample')
    return 0


def check_ade20k(args: argparse.Namespace) -> int:
    problems = ade20k.check(args.root, full=args.full)
    if problems:
        print(f'ADE20K in {args.root}: {len(problems)} problem(s)')
        print(*(f'  wrong: {problem}' for problem in problems), sep='\n')
        return 1
    for split in ade20k.SPLITS:
        count = len(list((args.root / 'images' / split).glob('*.jpg')))
        print(f'  right: {split}: {count:,} images, each with its annotation')
    print(f'  right: {"every image and label" if args.full else "a sample of images and labels (--full reads all)"} '
          'can be read, labels are 0..150 and of the size of their image')
    return 0


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Write the sample data, or check a data set that was downloaded.')
    commands = parser.add_subparsers(dest='command', required=True)
    sample = commands.add_parser('sample', help="write drawn scenes with known answers in ADE20K's layout")
    sample.add_argument('--root', type=Path, default=Path('data/sample'), help='folder (default: %(default)s)')
    sample.add_argument('--train', type=int, help='number of training scenes (default: what is there, or 64)')
    sample.add_argument('--val', type=int, help='number of validation scenes (default: what is there, or 16)')
    sample.add_argument('--seed', type=int, help='of the scenes (default: what is there, or 0)')
    sample.set_defaults(run=write_sample)
    ade = commands.add_parser('ade20k', help='check a copy of ADE20K (ADEChallengeData2016)')
    ade.add_argument('--root', type=Path, required=True, help='folder that holds images/ and annotations/')
    ade.add_argument('--full', action='store_true', help='read every image and label, not a sample (minutes)')
    ade.set_defaults(run=check_ade20k)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    return args.run(args)


if __name__ == '__main__':
    sys.exit(main())
