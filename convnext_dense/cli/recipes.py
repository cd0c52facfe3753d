"""The table of recipes, from the configs: python tools/list_recipes.py [--write]"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # works from a checkout that is not installed

import convnext_dense  # noqa: E402, F401  (first: it stands in for mmcv's compiled ops)
from convnext_dense import apis  # noqa: E402

PAGE = ROOT / 'docs' / 'recipes.md'
HEAD = """# Recipes

Every config of this project, as it stands; `python tools/list_recipes.py --write` makes this page from them. Batch:
images in one step of the optimizer, over all GPUs. Weights: what a run starts from was trained on, `-` for random ones.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description='Print the table of recipes, from the configs.')
    parser.add_argument(
        '--write', action='store_true', help=f'write it to {PAGE.relative_to(ROOT)}'
    )
    args = parser.parse_args()
    page = f'{HEAD}\n{apis.format_recipes(sorted((ROOT / "configs").glob("*.py")))}'
    if args.write:
        PAGE.write_text(page, encoding='utf-8')
    else:
        print(page, end='')


if __name__ == '__main__':
    main()
