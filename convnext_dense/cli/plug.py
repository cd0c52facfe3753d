"""Put ConvNeXt into your mmdet or mmseg config.

Writes a config that inherits yours and has ConvNeXt as its backbone, with the right channels, the
authors' weights, optimizer and layer-wise learning rates.

convnext-dense plug my_config.py --arch tiny --out my_config_convnext.py
"""

from __future__ import annotations

import argparse

from convnext_dense.cli import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_config(parser)
    parser.add_argument(
        '--arch', default='tiny', help='atto ... xxlarge, v2_atto ... v2_huge (default: tiny)'
    )
    parser.add_argument('--out', required=True, help='path of the new config')
    parser.add_argument(
        '--checkpoint',
        default='authors',
        metavar='FILE_OR_URL',
        help="weights to start from, or none (default: the authors' ImageNet weights)",
    )
    parser.add_argument(
        '--output-stride',
        type=int,
        choices=[8, 16, 32],
        help='dilate the late stages to keep this stride (default: that of your backbone)',
    )
    parser.add_argument(
        '--force', action='store_true', help='write over the new config if it exists'
    )
    parser.add_argument(
        '--no-check', action='store_true', help='do not build and run the new model'
    )


def run(args: argparse.Namespace) -> None:
    """Write the new config and print how it differs."""
    import difflib

    from convnext_dense.apis import resolve_config
    from convnext_dense.plug import plug

    config = resolve_config(args.config)
    done = plug(
        config,
        args.arch,
        args.out,
        output_stride=args.output_stride,
        force=args.force,
        checkpoint=None if args.checkpoint == 'none' else args.checkpoint,
        check=not args.no_check,
    )
    difference = difflib.unified_diff(
        done.old.pretty_text.splitlines(),
        done.new.pretty_text.splitlines(),
        fromfile=config,
        tofile=str(done.path),
        lineterm='',
        n=1,
    )
    print(*difference, '', *done.notes, f'Written: {done.path}', sep='\n')
