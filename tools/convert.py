"""Convert a checkpoint: the same as ``convnext-dense convert``."""

import sys

from convnext_dense.cli import main

if __name__ == '__main__':
    sys.exit(main(['convert', *sys.argv[1:]]))
