"""Train a config.

convnext-dense train upernet_convnext_t_ade20k --sample     # a shipped config, on drawn scenes
convnext-dense train my_config.py --cfg-options train_dataloader.batch_size=4
"""

from __future__ import annotations

import argparse
import warnings

from convnext_dense.cli import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_config(parser)
    parser.add_argument(
        '--sample',
        action='store_true',
        help='run it on drawn sample scenes with a short schedule and small crops',
    )
    options.add_work_dir(parser)
    parser.add_argument(
        '--resume', action='store_true', help='resume from the last checkpoint in the work dir'
    )
    options.add_trust_pickle(parser)
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument(
        '--seed', type=int, help="random seed (default: the config's, or a random one)"
    )
    options.add_cfg_options(parser)
    options.add_launcher(parser)


def run(args: argparse.Namespace) -> None:
    """Train, and print the last scores."""
    from mmengine.runner import Runner

    from convnext_dense import apis

    options.set_local_rank(args)
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
            f'--resume: {cfg.work_dir} holds no complete checkpoint yet; '
            'training starts from the beginning'
        )
    if args.seed is not None:
        cfg.merge_from_dict({'randomness.seed': args.seed})
    apis.allow_training_checkpoints(args.trust_pickle)

    # mmengine's schedules count batches, with gradient accumulation too, so torch's advice about
    # the order of optimizer and scheduler steps does not apply.
    warnings.filterwarnings('ignore', 'Detected call of `scheduler.step', UserWarning)
    runner = Runner.from_cfg(cfg)
    if cfg.get('load_from') and not cfg.get('resume'):
        apis.prepare_load_from(runner.model, cfg.load_from)
    runner.train()
    apis.print_summary(runner)
