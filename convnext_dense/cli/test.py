"""Evaluate a checkpoint with the config that trained it."""

from __future__ import annotations

import argparse
import os

from convnext_dense.cli import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_config(parser)
    options.add_checkpoint(parser)
    parser.add_argument('--sample', action='store_true', help='evaluate on the drawn sample scenes')
    parser.add_argument(
        '--tta', action='store_true', help='test-time augmentation: several scales and a flip'
    )
    options.add_trust_pickle(parser)
    parser.add_argument('--per-class', action='store_true', help='also the scores of each class')
    parser.add_argument(
        '--out', help='JSON file of the scores (default: scores.json in the work dir)'
    )
    options.add_work_dir(parser)
    options.add_cfg_options(parser)
    options.add_launcher(parser)


def run(args: argparse.Namespace) -> None:
    """Evaluate, print the scores and write them as JSON."""
    from mmengine.runner import Runner

    from convnext_dense import apis

    options.set_local_rank(args)
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
    scores = apis.run_test(runner, args.per_class)
    out = args.out or os.path.join(cfg.work_dir, 'scores.json')
    apis.print_scores(scores)
    apis.write_scores(scores, out, args.config, args.checkpoint, sample=args.sample, tta=args.tta)
    apis.print_summary(runner, 'test')
