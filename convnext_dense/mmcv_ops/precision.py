"""The precision in which the ops compute: that of mmcv's C++ code and of torchvision's kernels."""

from __future__ import annotations

import torch
from torch import Tensor


def upcast(*tensors: Tensor) -> list[Tensor]:
    """Convert tensors to a common type: float64 if any of them is float64, else float32.

    Args:
        *tensors: of any floating-point or integer type.
    """
    dtype = torch.float32
    if any(tensor.dtype == torch.float64 for tensor in tensors):
        dtype = torch.float64
    return [tensor.to(dtype) for tensor in tensors]


def as_float32(value: float) -> float:
    """Round to float32, as mmcv's C++ code receives it.

    For an IoU that equals the threshold, 0.3 and float32(0.3) give different results.
    """
    return torch.tensor(value, dtype=torch.float32).item()
