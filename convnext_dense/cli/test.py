"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT [--sample] [--tta] [--per-class]"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # works from a checkout that is not installed

from mmengine.config import DictAction  # noqa: E402
from mmengine.runner import Runner  # noqa: E402

import convnext_dense  # noqa: E402, F401  (first: it stands in for mmcv's compiled ops)
from convnext_dense import apis  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Evaluate a checkpoint with the config that trained it.'
    )
    parser.add_argument('config', help='path of the config')
    parser.add_argument('checkpoint', help='file that training wrote')
    parser.add_argument('--sample', action='store_true', help='evaluate on the drawn sample scenes')
    parser.add_argument(
        '--tta', action='store_true', help='test-time augmentation: several scales and a flip'
    )
    parser.add_argument(
        '--trust-pickle',
        action='store_true',
        help='where a checkpoint is refused as it could run code: '
        'LET IT RUN, with your rights. For files whose maker you trust',
    )
    parser.add_argument('--per-class', action='store_true', help='the scores of each class too')
    parser.add_argument(
        '--out', help='JSON file of the scores (default: scores.json in the work dir)'
    )
    parser.add_argument(
        '--work-dir', help='folder of logs and pictures (default: work_dirs/<name of the config>)'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config',
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help=argparse.SUPPRESS)
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def main() -> None:
    args = parse_args()
    try:
        cfg = apis.load_config(args.config, args.cfg_options, args.work_dir)
        cfg.load_from = apis.require_checkpoint(args.checkpoint)
        if args.sample:
            apis.use_sample(cfg)
        if args.tta:
            apis.use_tta(cfg)
        cfg.launcher = args.launcher
        apis.fit_to_machine(cfg)
        apis.require_data(cfg, ['test_dataloader'])
        apis.allow_training_checkpoints(args.trust_pickle)
        runner = Runner.from_cfg(cfg)
        apis.require_fit(runner.model, args.checkpoint)
    except apis.ConfigError as error:
        sys.exit(f'error: {error}')
    scores = apis.run_test(runner, args.per_class)
    out = args.out or os.path.join(cfg.work_dir, 'scores.json')
    apis.print_scores(scores)
    apis.write_scores(scores, out, args.config, args.checkpoint, sample=args.sample, tta=args.tta)
    apis.print_summary(runner, 'test')


if __name__ == '__main__':
    main()
