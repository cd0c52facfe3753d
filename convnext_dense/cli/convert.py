"""Convert a ConvNeXt checkpoint to another library's names: python tools/convert.py SRC DST --to timm"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # works from a checkout that is not installed

import convnext_dense  # noqa: E402, F401  (first: it stands in for mmcv's compiled ops)
from convnext_dense import apis  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Convert a ConvNeXt checkpoint, alone or in a detector or segmentor, to the names of another '
        'library. The layout of the source is found out; docs/checkpoints.md says what each can hold.'
    )
    parser.add_argument(
        'source', metavar='SRC', help="path, https:// address, 'timm:NAME' or 'hf-hub:ORG/NAME'"
    )
    parser.add_argument(
        'path', metavar='DST', help='file to write: .safetensors, .pth, .pt or .bin'
    )
    parser.add_argument(
        '--to',
        default='facebook',
        choices=apis.LAYOUT_NAMES,
        metavar='LAYOUT',
        help=f'one of {", ".join(apis.LAYOUT_NAMES)} (default: facebook, which is ours too)',
    )
    parser.add_argument(
        '--ema',
        action=argparse.BooleanOptionalAction,
        help='the averaged, or the plain weights; default: those that the writing library would load',
    )
    parser.add_argument(
        '--trust-pickle',
        action='store_true',
        help='where a checkpoint is refused as it could run '
        'code: LET IT RUN, with your rights. For files whose maker you trust',
    )
    parser.add_argument('--force', action='store_true', help='replace DST if it exists')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        print(apis.convert_checkpoint(**vars(args)))
    except (apis.CheckpointError, OSError) as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
