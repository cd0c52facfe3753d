"""Convert a ConvNeXt checkpoint to the names of another library.

The checkpoint may hold the backbone alone, a classifier, or a whole detector or segmentor. The
layout of the source is detected; docs/checkpoints.md says what each layout can hold.

convnext-dense convert convnext_tiny_1k_224_ema.pth tiny.safetensors --to timm
"""

from __future__ import annotations

import argparse

from convnext_dense.cli import options
from convnext_dense.errors import CheckpointError

# The keys of checkpoints.LAYOUTS, written here because importing those imports torch.
LAYOUT_NAMES = (
    'facebook',
    'dinov3',
    'fcmae',
    'timm',
    'timm_hnf',
    'timm_mlp_head',
    'timm_features',
    'torchvision',
    'transformers',
    'transformers_dinov3',
    'transformers_dinov3_4',
    'mmpretrain',
    'mmpretrain_dense',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        'source', metavar='SRC', help="path, https:// address, 'timm:NAME' or 'hf-hub:ORG/NAME'"
    )
    parser.add_argument(
        'path', metavar='DST', help='file to write: .safetensors, .pth, .pt or .bin'
    )
    parser.add_argument(
        '--to',
        default='facebook',
        choices=LAYOUT_NAMES,
        metavar='LAYOUT',
        help=f'one of {", ".join(LAYOUT_NAMES)} (default: facebook, which is ours too)',
    )
    parser.add_argument(
        '--ema',
        action=argparse.BooleanOptionalAction,
        help='the averaged or the plain weights (default: those that the library would load)',
    )
    options.add_trust_pickle(parser)
    parser.add_argument('--force', action='store_true', help='replace DST if it exists')


def run(args: argparse.Namespace) -> None:
    """Convert, and print a report."""
    from convnext_dense.checkpoints.convert_file import convert_checkpoint

    try:
        report = convert_checkpoint(
            args.source, args.path, args.to, args.ema, args.trust_pickle, args.force
        )
    except OSError as error:
        raise CheckpointError(str(error)) from error
    print(report)
