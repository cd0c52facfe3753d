"""Options that several subcommands share."""

from __future__ import annotations

import argparse
import os


class ConfigOptions(argparse.Action):
    """``KEY=VALUE ...``, parsed by mmengine, which is imported only when the option is used."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Store a dictionary of the values in ``namespace``."""
        from mmengine.config import DictAction

        action = DictAction(self.option_strings, self.dest, nargs='+')
        action(parser, namespace, values, option_string)


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the config as a positional argument."""
    parser.add_argument('config', help='path of a config, or the name of a shipped one')


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """Add the checkpoint of a trained model as a positional argument."""
    parser.add_argument('checkpoint', help='checkpoint file that training wrote')


def add_cfg_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg-options``."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=ConfigOptions,
        metavar='KEY=VALUE',
        help='override settings of the config, for example optim_wrapper.optimizer.lr=1e-4',
    )


def add_trust_pickle(parser: argparse.ArgumentParser) -> None:
    """Add ``--trust-pickle``."""
    parser.add_argument(
        '--trust-pickle',
        action='store_true',
        help='load a checkpoint that was refused because it can run code: THE CODE RUNS with your '
        'rights, so use it only for files whose author you trust',
    )


def add_work_dir(parser: argparse.ArgumentParser) -> None:
    """Add ``--work-dir``."""
    parser.add_argument(
        '--work-dir',
        help='folder of logs, checkpoints and pictures (default: work_dirs/<name of the config>)',
    )


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Add ``--launcher``, and ``--local-rank`` as some launchers pass it."""
    launchers = ['none', 'pytorch', 'slurm', 'mpi']
    parser.add_argument(
        '--launcher',
        choices=launchers,
        default='none',
        help='what started the processes of a run on several GPUs (default: none, one process)',
    )
    parser.add_argument('--local-rank', '--local_rank', type=int, default=0, help=argparse.SUPPRESS)


def set_local_rank(args: argparse.Namespace) -> None:
    """Pass ``--local-rank`` on to mmengine, which reads it from the environment."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
