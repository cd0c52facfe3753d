"""Draw predictions: the same as ``convnext-dense predict``."""

import sys

from convnext_dense.cli import main

if __name__ == '__main__':
    sys.exit(main(['predict', *sys.argv[1:]]))
