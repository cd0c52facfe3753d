"""Evaluate a checkpoint: the same as ``convnext-dense test``."""

import sys

from convnext_dense.cli import main

if __name__ == '__main__':
    sys.exit(main(['test', *sys.argv[1:]]))
