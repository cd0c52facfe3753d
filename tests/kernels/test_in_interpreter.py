"""The default path imports no kernel; the tests of the kernels run in Triton's interpreter."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ONE_STEP = """
import sys
import torch
from convnext_dense import layers

model = layers.ConvNeXt(dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)), memory='low')
sum(y.sum() for y in model(torch.randn(1, 3, 32, 32))).backward()
print([name for name in sys.modules if name.startswith('convnext_dense.kernels')])
"""


def test_default_path_imports_no_kernel():
    done = subprocess.run([sys.executable, '-c', ONE_STEP], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == '[]'


@pytest.mark.parametrize('file', ['test_operations.py', 'test_block.py'])
def test_kernels_in_interpreter(file):
    pytest.importorskip('triton')
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', HERE / file]
    environment = os.environ | {'TRITON_INTERPRET': '1'}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
