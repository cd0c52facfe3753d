"""LayerNorm for image maps, and ConvNeXt V2's Global Response Normalization."""

import torch
from torch import Tensor, nn

from convnext_dense.ops import TORCH_OPS


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over C of a map (N, C, H, W), each pixel by itself.

    Works on channels-last strides without a copy, and returns channels-last strides.

    Source: facebookresearch/ConvNeXt models/convnext.py:LayerNorm(data_format='channels_first') @
    048efce. Differs: fp32 statistics for fp16 and bf16 maps; the original squares in fp16 and can
    return zeros.
    """

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x.permute(0, 2, 3, 1))  # (N, H, W, C)
        return y.permute(0, 3, 1, 2)  # (N, C, H, W)


class GlobalResponseNorm(nn.Module):
    """Global Response Normalization of a map (N, H, W, C).

    :meth:`convnext_dense.ops.TorchOps.global_response_norm` gives the formula. ``gamma`` and
    ``beta`` are (C,) and start at zero, which makes it the identity. Checkpoints of the authors
    hold them as (1, 1, 1, C) and others as (1, C): both load; ``load_state_dict`` refuses any other
    number of elements.

    Args:
        dim: channels C.
        eps: added to the mean of the spatial norms.
    """

    def __init__(self, dim: int, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.gamma = nn.Parameter(torch.zeros(dim))
        self.beta = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        # The reference has autograd's backward pass, which other implementations lack.
        return TORCH_OPS.global_response_norm(x, self.gamma, self.beta, self.eps)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        for name in ('gamma', 'beta'):
            value = state_dict.get(prefix + name)
            if value is not None and value.numel() == value.shape[-1]:
                state_dict[prefix + name] = value.reshape(-1)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
