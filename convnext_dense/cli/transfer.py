"""Pretrain a classifier, then train segmentation with and without its weights.

Parts that are finished in the work dir are not run again.

convnext-dense transfer
convnext-dense transfer --seeds 0 --iters 100 --checkpoint CLASSIFIER.pth
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        '--pretrain-config',
        default='convnext_atto_sample',
        help='config of the classifier (default: %(default)s)',
    )
    parser.add_argument(
        '--config',
        default='upernet_convnext_atto_short_sample',
        help='config of the segmentor (default: %(default)s)',
    )
    parser.add_argument(
        '--checkpoint', help='checkpoint of a classifier, in place of the pretraining'
    )
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
        help='random seeds of the segmentation runs (default: 0 1 2)',
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


def run(args: argparse.Namespace) -> None:
    """Run what is missing, print the comparison and write it as JSON."""
    from convnext_dense import apis
    from convnext_dense.apis import transfer

    apis.allow_training_checkpoints()
    pretraining = None
    checkpoint = args.checkpoint
    if not checkpoint:
        cfg = apis.load_config(args.pretrain_config)
        pretraining = transfer.train_part(cfg, args.work_dir / 'pretrain')
        checkpoint = pretraining['checkpoint']
    apis.require_checkpoint(checkpoint)
    runs = transfer.compare_transfer(
        args.config, checkpoint, args.seeds, args.iters, not args.plain, args.work_dir
    )
    summary = transfer.summarize_transfer(runs)
    transfer.print_transfer(summary)
    if pretraining:
        print(
            f'pretraining, once: {pretraining["cpu_seconds"]:.0f} s of processor time, '
            f'top-1 {pretraining["metrics"]["top1"]:.2f}'
        )

    record = dict(
        checkpoint=checkpoint,
        weights='plain' if args.plain else 'EMA',
        iters=args.iters,
        **summary,
        pretraining=pretraining,
        runs=runs,
    )
    path = args.work_dir / 'transfer.json'
    path.write_text(json.dumps(record, indent=2) + '\n', encoding='utf-8')
    print(f'scores, checkpoints and logs: {path}')
