"""Installs the import hook before mmcv.ops is imported, and reads the golden results of mmcv."""

from pathlib import Path

import numpy as np
import pytest
import torch

from convnext_dense.mmcv_ops import install

install()


@pytest.fixture(scope='session')
def golden():
    """Inputs and results of compiled mmcv ops, as tensors by name."""
    with np.load(Path(__file__).parents[1] / 'golden' / 'mmcv_ops.npz') as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}
