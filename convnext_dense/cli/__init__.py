"""The command ``convnext-dense``.

Each subcommand is a module of this package. Its docstring is the help text, the first line of it
the summary; ``add_arguments(parser)`` declares its options and ``run(args)`` does the work and
returns an exit code, where None means 0. The modules import torch and mmengine inside these
functions, so that ``convnext-dense --help`` answers at once.
"""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Sequence
from importlib import import_module

from convnext_dense import __version__
from convnext_dense.errors import UserError

COMMANDS = (
    'train',
    'test',
    'predict',
    'plug',
    'convert',
    'data',
    'benchmark',
    'recipes',
    'transfer',
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with these arguments (by default those of the process).

    Returns:
        The exit code: 0; what the subcommand returns; or 1 after an error that the user can
        correct, which is printed. argparse exits with 2.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    args = make_parser(arguments).parse_args(arguments)
    try:
        code = args.run(args)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return code or 0


def make_parser(arguments: list[str]) -> argparse.ArgumentParser:
    """Make the parser. Only the subcommand that comes first in ``arguments`` gets its options."""
    parser = argparse.ArgumentParser(
        prog='convnext-dense',
        description='ConvNeXt backbones for detection and segmentation: train, test and more.',
        epilog='convnext-dense COMMAND --help lists the options of a command.',
    )
    parser.add_argument('--version', action='version', version=__version__)
    subparsers = parser.add_subparsers(dest='command', metavar='COMMAND', required=True)
    for name in COMMANDS:
        module = import_module(f'convnext_dense.cli.{name}')
        description = inspect.getdoc(module) or ''
        subparser = subparsers.add_parser(
            name,
            help=description.partition('\n')[0],
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        subparser.set_defaults(run=module.run)
        if arguments[:1] == [name]:
            module.add_arguments(subparser)
    return parser
