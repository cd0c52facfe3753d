"""Print the table of recipes, made from the configs."""

from __future__ import annotations

import argparse
from pathlib import Path

PAGE = Path('docs', 'recipes.md')
HEAD = """# Recipes

Every config of this project, as it stands; `python tools/list_recipes.py --write` makes this page from them. Batch:
images in one step of the optimizer, over all GPUs. Weights: what a run starts from was trained on, `-` for random ones.
"""  # noqa: E501  (a line of the page)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('--write', action='store_true', help='write it to docs/recipes.md')


def run(args: argparse.Namespace) -> None:
    """Print or write the page."""
    from convnext_dense import apis

    page = f'{HEAD}\n{apis.format_recipes(apis.list_configs())}'
    if args.write:
        PAGE.write_text(page, encoding='utf-8')
    else:
        print(page, end='')
