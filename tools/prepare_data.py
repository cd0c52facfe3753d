"""Write sample data or check a download: the same as ``convnext-dense data``."""

import sys

from convnext_dense.cli import main

if __name__ == '__main__':
    sys.exit(main(['data', *sys.argv[1:]]))
