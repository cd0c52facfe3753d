"""Where the kernels run: on a GPU, or in Triton's interpreter, or not at all.

Triton decides at its import, by TRITON_INTERPRET=1, whether kernels are interpreted. Without a GPU
only a process that was started with it can run them: ``test_in_interpreter.py`` starts one.
"""

import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent))  # for ahead_of_time

INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
collect_ignore = []
if INTERPRETED:
    collect_ignore = ['test_in_interpreter.py', 'test_compiled.py']
elif not torch.cuda.is_available():
    collect_ignore = ['test_operations.py', 'test_block.py']


@pytest.fixture
def device() -> str:
    if INTERPRETED:
        return 'cpu'
    return 'cuda'
