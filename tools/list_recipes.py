"""List the recipes: the same as ``convnext-dense recipes``."""

import sys

from convnext_dense.cli import main

if __name__ == '__main__':
    sys.exit(main(['recipes', *sys.argv[1:]]))
