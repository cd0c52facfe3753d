"""Put ConvNeXt into your config: python tools/plug.py USER_CONFIG --arch tiny --out NEW_CONFIG"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # works from a checkout that is not installed

import convnext_dense  # noqa: E402, F401  (first: it stands in for mmcv's compiled ops)
from convnext_dense.apis import ConfigError  # noqa: E402
from convnext_dense.plug.plug import AUTHORS, plug  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Write a config that inherits yours, mmdet's or mmseg's, and has ConvNeXt as its backbone: with "
        "the right channels, the authors' weights, optimizer and layer-wise learning rates."
    )
    parser.add_argument('config', help='path of your config; it is left as it is')
    parser.add_argument(
        '--arch', default='tiny', help='atto ... xxlarge, v2_atto ... v2_huge (default: tiny)'
    )
    parser.add_argument('--out', required=True, help='path of the new config')
    parser.add_argument(
        '--checkpoint',
        default=AUTHORS,
        metavar='FILE_OR_URL',
        help="weights to start from, or none (default: the authors' ImageNet weights)",
    )
    parser.add_argument(
        '--output-stride',
        type=int,
        choices=[8, 16, 32],
        help='dilate the late stages to keep this stride (default: what your backbone does)',
    )
    parser.add_argument(
        '--force', action='store_true', help='write over the new config if it exists'
    )
    parser.add_argument(
        '--no-check', action='store_true', help='do not build and run the new model'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        done = plug(
            args.config,
            args.arch,
            args.out,
            output_stride=args.output_stride,
            force=args.force,
            checkpoint=None if args.checkpoint == 'none' else args.checkpoint,
            check=not args.no_check,
        )
    except ConfigError as error:
        sys.exit(f'error: {error}')
    print('\n'.join([f'--- {args.config}', f'+++ {done.path}', *done.changes, '', *done.notes]))
    print(f'Written: {done.path}')


if __name__ == '__main__':
    main()
