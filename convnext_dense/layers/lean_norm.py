"""The first half of a block, from the input to what pwconv1 takes: what is kept of it, and its backward pass.

Both forms keep one map for the depthwise convolution and LayerNorm, y = dwconv(x) or n = (y - mean) * rstd.
"""

from __future__ import annotations

from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from convnext_dense.ops import dispatch, functional


class Weights(NamedTuple):
    """A block's parameters; ``gamma`` or ``grn_gamma`` and ``grn_beta`` are None where it has none."""

    dwconv_weight: Tensor
    dwconv_bias: Tensor
    norm_weight: Tensor
    norm_bias: Tensor
    pwconv1_weight: Tensor
    pwconv1_bias: Tensor
    grn_gamma: Tensor | None
    grn_beta: Tensor | None
    pwconv2_weight: Tensor
    pwconv2_bias: Tensor
    gamma: Tensor | None


class OnMap:
    """y is kept, and normalized again in the backward pass: for CPUs, where a piece of it is in the caches.

    Weights, which at the deep stages are larger than the maps, are left as they are.
    """

    def __init__(self, w: Weights, eps: float, dtype: torch.dtype):
        self.w, self.eps = w, eps
        self.weight1, self.bias1 = w.pwconv1_weight.to(dtype), w.pwconv1_bias.to(dtype)

    def convolve(self, x: Tensor) -> tuple[Tensor, ...]:
        """What is kept, maps (N, H, W, C): y."""
        return (functional.depthwise_conv(x, self.w.dwconv_weight, self.w.dwconv_bias),)

    def normalize(self, y: Tensor) -> tuple[Tensor, ...]:
        """pwconv1's input, and what more :meth:`backward` takes, from a piece of what is kept."""
        return functional.layer_norm(y, self.w.norm_weight, self.w.norm_bias, self.eps)

    def backward(self, grad: Tensor, y: Tensor, mean: Tensor, rstd: Tensor) -> tuple[Tensor, ...]:
        """The gradient by y from that by pwconv1's input, and sums for :meth:`grads`."""
        return functional.layer_norm_backward(grad, y, mean, rstd, self.w.norm_weight)

    def grads(
        self, dweight1: Tensor, dbias1: Tensor, dweight: Tensor, dbias: Tensor
    ) -> dict[str, Tensor]:
        """Gradients by the weights of LayerNorm and pwconv1, from all sums."""
        return dict(
            norm_weight=dweight, norm_bias=dbias, pwconv1_weight=dweight1, pwconv1_bias=dbias1
        )


class Folded:
    """n is kept, and LayerNorm's weight and bias are multiplied into pwconv1: for GPUs, where maps are large.

    ::

        weight1 = pwconv1_weight * norm_weight;  bias1 = pwconv1_bias + pwconv1_weight @ norm_bias
    """

    def __init__(self, w: Weights, eps: float, dtype: torch.dtype):
        self.w, self.eps, self.dtype = w, eps, dtype
        self.weight1 = (w.pwconv1_weight * w.norm_weight).to(dtype)

    @cached_property
    def bias1(self) -> Tensor:
        return torch.addmv(self.w.pwconv1_bias, self.w.pwconv1_weight, self.w.norm_bias).to(
            self.dtype
        )

    def convolve(self, x: Tensor) -> tuple[Tensor, ...]:
        """n (N, H, W, C) and rstd (N, H, W, 1)."""
        n, rstd = functional.depthwise_normalize(
            x, self.w.dwconv_weight, self.w.dwconv_bias, self.eps
        )
        return n, rstd.unsqueeze(-1)

    def normalize(self, n: Tensor, rstd: Tensor) -> tuple[Tensor, ...]:
        return (n,)

    def backward(self, grad: Tensor, n: Tensor, rstd: Tensor) -> tuple[Tensor, ...]:
        return (functional.normalize_backward(grad, n, rstd.squeeze(-1)),)

    def grads(self, dweight1: Tensor, dbias1: Tensor) -> dict[str, Tensor]:
        w, weight = self.w, self.w.pwconv1_weight.to(dweight1.dtype)
        grads = dict(
            norm_weight=torch.linalg.vecdot(dweight1, weight, dim=0), norm_bias=dbias1 @ weight
        )
        dweight1 = dweight1.mul_(w.norm_weight).addr_(dbias1, w.norm_bias.to(dbias1.dtype))
        return grads | dict(pwconv1_weight=dweight1, pwconv1_bias=dbias1)


def form(x: Tensor) -> type[OnMap | Folded]:
    """The form for a map ``x``; Triton's interpreter stands for a GPU."""
    return OnMap if x.device.type == 'cpu' and not dispatch.interpreted() else Folded
