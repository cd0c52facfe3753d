"""Draw what a trained segmentor or detector sees in images."""

from __future__ import annotations

import argparse
from pathlib import Path

from convnext_dense.cli import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_config(parser)
    options.add_checkpoint(parser)
    parser.add_argument('images', nargs='+', help='image files, or folders of them')
    options.add_trust_pickle(parser)
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('predictions'),
        help='folder of the pictures (default: %(default)s)',
    )
    parser.add_argument(
        '--sample', action='store_true', help='the image sizes that train --sample used'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)')
    options.add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    """Draw the predictions and print the path of each picture."""
    from convnext_dense import apis

    cfg = apis.load_config(args.config, args.cfg_options)
    checkpoint = apis.require_checkpoint(args.checkpoint)
    images = apis.find_images(args.images)
    if args.sample:
        apis.use_sample(cfg)
    apis.allow_training_checkpoints(args.trust_pickle)
    for picture in apis.draw_predictions(cfg, checkpoint, images, args.out, args.device):
        print(picture)
