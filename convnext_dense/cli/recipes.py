"""List the shipped configs and their scores.

docs/recipes.md has their settings too; with --write it is made from the configs and metafiles.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        '--write', action='store_true', help='write docs/recipes.md, in a checkout of the project'
    )


def run(args: argparse.Namespace) -> None:
    """Print the list or write the page."""
    from convnext_dense import apis

    configs = apis.find_config_folder()
    if not args.write:
        print(apis.format_list(configs), end='')
        return
    page = configs.parent / 'docs' / 'recipes.md'
    if not page.exists():
        raise apis.ConfigError(f'--write needs a checkout of the project: {page} does not exist')
    page.write_text(apis.format_page(configs), encoding='utf-8')
    print(f'Written: {page}')
