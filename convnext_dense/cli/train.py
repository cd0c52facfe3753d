"""Train a config: python tools/train.py configs/upernet_convnext_t_ade20k.py [--sample]"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # works from a checkout that is not installed

from mmengine.config import DictAction  # noqa: E402
from mmengine.runner import Runner  # noqa: E402

import convnext_dense  # noqa: E402, F401  (first: it stands in for mmcv's compiled ops)
from convnext_dense import apis  # noqa: E402


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Train a config.')
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        '--sample',
        action='store_true',
        help='run it on drawn sample scenes with a short schedule and small crops',
    )
    parser.add_argument(
        '--work-dir',
        help='folder of logs and checkpoints (default: work_dirs/<name of the config>)',
    )
    parser.add_argument(
        '--resume', action='store_true', help='go on from the last checkpoint in the work dir'
    )
    parser.add_argument(
        '--trust-pickle',
        action='store_true',
        help='where a checkpoint is refused as it could run code: '
        'LET IT RUN, with your rights. For files whose maker you trust',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument(
        '--seed', type=int, help="random seed (default: the config's, or a random one)"
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, e.g. optim_wrapper.optimizer.lr=1e-4',
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
        if args.sample:
            apis.use_sample(cfg)
        if args.amp:
            apis.use_amp(cfg)
        cfg.launcher = args.launcher
        apis.fit_to_machine(cfg)
        apis.require_data(cfg)
        apis.keep_checkpoints_safe(cfg)
        if args.resume and not apis.resume_last(cfg):
            print(
                f'--resume: no complete checkpoint in {cfg.work_dir} yet, so training starts from the beginning'
            )
        if args.seed is not None:
            cfg.merge_from_dict({'randomness.seed': args.seed})
        apis.allow_training_checkpoints(args.trust_pickle)
        # mmengine's schedules count batches, with gradient accumulation too: torch's advice does not apply
        warnings.filterwarnings('ignore', 'Detected call of `scheduler.step', UserWarning)
        runner = Runner.from_cfg(cfg)
        if cfg.get('load_from') and not cfg.get('resume'):
            apis.prepare_load_from(runner.model, cfg.load_from)
        runner.train()
    except (apis.ConfigError, apis.CheckpointError) as error:
        sys.exit(f'error: {error}')
    apis.print_summary(runner)


if __name__ == '__main__':
    main()
