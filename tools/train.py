"""Train a config: the same as ``convnext-dense train``."""

import sys

from convnext_dense.cli import main

if __name__ == '__main__':
    sys.exit(main(['train', *sys.argv[1:]]))
