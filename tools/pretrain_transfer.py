"""Pretrain, then transfer: the same as ``convnext-dense transfer``."""

import sys

from convnext_dense.cli import main

if __name__ == '__main__':
    sys.exit(main(['transfer', *sys.argv[1:]]))
