"""Shortest correct torch for each operation: what every faster implementation is compared with."""
import torch
from torch import Tensor


def global_response_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-6) -> Tensor:
    """Global Response Normalization.

    ::

        G_nc = sqrt(sum_hw x_nhwc^2);  N_nc = G_nc / (mean_c G_nc + eps);  y = gamma * (x * N) + beta + x

    Computed in at least fp32, so that maps whose spatial norm passes fp16's 65504 stay finite.

    Args:
        x: (N, H, W, C), any float dtype.
        gamma, beta: (C,).
        eps: added to the mean of G over channels.

    Returns:
        (N, H, W, C) in ``x``'s dtype.

    Source: arXiv:2301.00808 section 3.2, algorithm 1; facebookresearch/ConvNeXt-V2 models/utils.py:GRN @ 2553895.
    Differs: fp32 arithmetic whatever the dtype of ``x``.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True, dtype=dtype)  # (N, 1, 1, C)
    response = norm / (norm.mean(dim=-1, keepdim=True) + eps)
    wide = x.to(dtype)
    return (gamma * (wide * response) + beta + wide).to(x.dtype)
