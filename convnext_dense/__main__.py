"""``python -m convnext_dense`` is the command ``convnext-dense``."""

import sys

from convnext_dense.cli import main

if __name__ == '__main__':
    sys.exit(main())
