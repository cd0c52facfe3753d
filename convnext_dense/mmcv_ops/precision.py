"""In which precision the ops compute: mmcv's C++ in float, torchvision's kernels in float or double."""

from __future__ import annotations

import torch
from torch import Tensor


def upcast(*tensors: Tensor) -> list[Tensor]:
    """The tensors in one common type: float64 if any is float64, else float32 (from float16, bfloat16, integers)."""
    double = any(tensor.dtype == torch.float64 for tensor in tensors)
    return [tensor.to(torch.float64 if double else torch.float32) for tensor in tensors]


def as_float32(value: float) -> float:
    """``value`` rounded to float32, as mmcv's C++ takes it; 0.3 and float32(0.3) differ for an IoU that ties."""
    return torch.tensor(value, dtype=torch.float32).item()
