"""Measure time and memory: the same as ``convnext-dense benchmark``."""

import sys

from convnext_dense.cli import main

if __name__ == '__main__':
    sys.exit(main(['benchmark', *sys.argv[1:]]))
