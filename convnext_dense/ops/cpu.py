"""The block's operations in the forms that are fastest on a CPU. What they take and return stands in ``reference``."""

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from convnext_dense.ops import products, reference

# A tile of the map that is the kernel of a convolution: oneDNN unrolls rows, and longer sums in fp32 lose digits.
_TILE = (64, 64)


def linear_gelu(
    x: Tensor, weight: Tensor, bias: Tensor, keep: bool = True
) -> tuple[Tensor, Tensor]:
    hidden = products.linear(x, weight, bias.to(x.dtype))
    return F.gelu(hidden), hidden if keep else hidden.new_empty(0)


def mlp_backward(
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    grad: Tensor,
    weight2: Tensor,
    sample_scale: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    hidden = products.linear(x, weight1, bias1.to(x.dtype))
    return reference.gelu_backward(hidden, products.input_grad(grad, weight2), sample_scale)


def linear_residual(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    gamma: Tensor | None,
    sample_scale: Tensor | None,
    residual: Tensor,
) -> Tensor:
    return reference.add_scaled(
        residual, products.linear(x, weight, bias.to(x.dtype)), gamma, sample_scale
    )


def depthwise_input_grad(
    grad: Tensor, weight: Tensor, residual_grad: Tensor | None = None
) -> Tensor:
    dx = reference.depthwise_input_grad(grad, weight)
    if residual_grad is None:
        return dx
    return dx.add_(residual_grad) if dx.dtype == residual_grad.dtype else residual_grad + dx


def depthwise_weight_grad(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`reference.depthwise_weight_grad`, by a forward convolution whose kernel is ``grad``.

    The weight's gradient is the correlation of the padded input with the output's gradient, which oneDNN's depthwise
    forward pass computes several times faster than its own weight gradient (docs/performance.md).
    """
    return _WAYS[_way(x)](grad, x)


def _by_forward(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    total = torch.promote_types(x.dtype, torch.float32)
    weight = torch.zeros(1, x.shape[-1], 7, 7, dtype=total, device=x.device)
    for image, kernel in zip(x.permute(0, 3, 1, 2), grad.permute(0, 3, 1, 2)):  # (C, H, W) each
        weight += _correlate(image[None], kernel[:, None])
    return weight.transpose(0, 1), grad.sum((0, 1, 2), dtype=total)


def _correlate(x: Tensor, kernel: Tensor) -> Tensor:
    """(1, C, H, W) and kernels (C, 1, H, W) of the same size -> (1, C, 7, 7), in tiles of the kernels."""
    channels, (height, width) = x.shape[1], x.shape[2:]
    if height <= _TILE[0] and width <= _TILE[1]:
        return F.conv2d(x, kernel, padding=3, groups=channels)
    x = F.pad(x, (3, 3, 3, 3))
    return sum(
        F.conv2d(
            x[:, :, h : h + _TILE[0] + 6, w : w + _TILE[1] + 6],
            kernel[:, :, h : h + _TILE[0], w : w + _TILE[1]],
            groups=channels,
        ).to(torch.promote_types(x.dtype, torch.float32))
        for h in range(0, height, _TILE[0])
        for w in range(0, width, _TILE[1])
    )


_WAYS = {'forward': _by_forward, 'backward': reference.depthwise_weight_grad}


def _way(x: Tensor) -> str:
    if not x.numel() or x.dtype == torch.float64 or not torch.backends.mkldnn.is_available():
        return 'backward'
    return (
        'forward'
        if torch.are_deterministic_algorithms_enabled()
        else _probe(x.dtype, torch.get_num_threads())
    )


@functools.cache
def _probe(dtype: torch.dtype, threads: int) -> str:
    ones = torch.ones(1, 32, 32, 64, dtype=dtype, device='cpu')
    return products.fastest(
        {name: functools.partial(way, ones, ones) for name, way in _WAYS.items()}
    )
