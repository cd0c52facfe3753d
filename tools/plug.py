"""Put ConvNeXt into a config: the same as ``convnext-dense plug``."""

import sys

from convnext_dense.cli import main

if __name__ == '__main__':
    sys.exit(main(['plug', *sys.argv[1:]]))
