"""Pretrain a classifier, then train segmentation with and without its weights, over several seeds.

python tools/pretrain_transfer.py
python tools/pretrain_transfer.py --seeds 0 --iters 100 --checkpoint CLASSIFIER.pth
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # works from a checkout that is not installed

import convnext_dense  # noqa: E402, F401  (first: it stands in for mmcv's compiled ops)
from convnext_dense import apis  # noqa: E402
from convnext_dense.apis import transfer  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Pretrain a classifier, then train segmentation with and without its '
        'weights. Parts that are finished in the work dir are not run again.'
    )
    parser.add_argument(
        '--pretrain-config',
        default='configs/convnext_atto_sample.py',
        help='of the classifier (default: %(default)s)',
    )
    parser.add_argument(
        '--config',
        default='configs/upernet_convnext_atto_short_sample.py',
        help='of the segmentor (default: %(default)s)',
    )
    parser.add_argument('--checkpoint', help="a classifier's checkpoint: nothing is pretrained")
    parser.add_argument(
        '--plain',
        action='store_true',
        help='transfer the plain weights, not the averaged (EMA) ones',
    )
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[0, 1, 2],
        help='of the segmentation (default: 0 1 2)',
    )
    parser.add_argument(
        '--iters', type=int, help="of each segmentation run (default: the config's, 200)"
    )
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/pretrain_transfer'),
        help='folder of logs, checkpoints and transfer.json (default: %(default)s)',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    apis.allow_training_checkpoints()
    try:
        pretrained = None
        if not args.checkpoint:
            pretrained = transfer.train_part(
                apis.load_config(args.pretrain_config), args.work_dir / 'pretrain'
            )
        checkpoint = apis.require_checkpoint(args.checkpoint or pretrained['checkpoint'])
        runs = transfer.compare_transfer(
            args.config, checkpoint, args.seeds, args.iters, not args.plain, args.work_dir
        )
    except (apis.ConfigError, apis.CheckpointError) as error:
        sys.exit(f'error: {error}')
    summary = transfer.summarize_transfer(runs)
    transfer.print_transfer(summary)
    if pretrained:
        print(
            f'pretraining, once: {pretrained["cpu_seconds"]:.0f} s of processor time, '
            f'top-1 {pretrained["metrics"]["top1"]:.2f}'
        )
    record = dict(
        checkpoint=checkpoint,
        weights='plain' if args.plain else 'EMA',
        iters=args.iters,
        **summary,
        pretraining=pretrained,
        runs=runs,
    )
    path = args.work_dir / 'transfer.json'
    path.write_text(json.dumps(record, indent=2) + '\n', encoding='utf-8')
    print(f'scores, checkpoints and logs: {path}')


if __name__ == '__main__':
    main()
