"""Draw predictions: python tools/predict.py CONFIG CHECKPOINT IMAGE_OR_FOLDER ... [--out pictures]"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # works from a checkout that is not installed

from mmengine.config import DictAction  # noqa: E402

import convnext_dense  # noqa: E402, F401  (first: it stands in for mmcv's compiled ops)
from convnext_dense import apis  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Draw what a trained segmentor or detector sees in images.'
    )
    parser.add_argument('config', help='path of the config')
    parser.add_argument('checkpoint', help='file that training wrote')
    parser.add_argument('images', nargs='+', help='image files, or folders of them')
    parser.add_argument(
        '--trust-pickle',
        action='store_true',
        help='where a checkpoint is refused as it could run code: '
        'LET IT RUN, with your rights. For files whose maker you trust',
    )
    parser.add_argument(
        '--out', default='predictions', help='folder of the pictures (default: predictions)'
    )
    parser.add_argument(
        '--sample', action='store_true', help='the sizes that --sample trained with'
    )
    parser.add_argument('--device', help='cpu, cuda, cuda:1, ... (default: a GPU if there is one)')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    try:
        cfg = apis.load_config(args.config, args.cfg_options)
        checkpoint, images = apis.require_checkpoint(args.checkpoint), apis.find_images(args.images)
        if args.sample:
            apis.use_sample(cfg)
        apis.allow_training_checkpoints(args.trust_pickle)
        for picture in apis.draw_predictions(cfg, checkpoint, images, Path(args.out), args.device):
            print(picture)
    except apis.ConfigError as error:
        sys.exit(f'error: {error}')


if __name__ == '__main__':
    main()
