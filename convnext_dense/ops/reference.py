"""Shortest correct torch for each operation: what every faster implementation is compared with.

Maps are N H W C, contiguous. A function computes in the dtype that it is given, statistics in at least fp32; for an
oracle give it fp64. It takes and returns what the operation of the same name in ``functional`` does.
"""
import torch
from torch import Tensor
from torch.nn import functional as F


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _for_sample(scale: Tensor, x: Tensor) -> Tensor:
    """(N,) -> (N, 1, ..., 1), to be multiplied with ``x`` (N, ..., C)."""
    return scale.view(-1, *[1] * (x.dim() - 1))


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """7x7 depthwise convolution, stride 1, padded with zeros to the same size.

    Args:
        x: (N, H, W, C).
        weight: (C, 1, 7, 7).
        bias: (C,).

    Returns:
        (N, H, W, C) in ``x``'s dtype.
    """
    weight, bias = weight.to(x.dtype), bias.to(x.dtype)
    y = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=3, groups=x.shape[-1])
    return y.permute(0, 2, 3, 1).contiguous()


def depthwise_input_grad(grad: Tensor, weight: Tensor, residual_grad: Tensor | None = None) -> Tensor:
    """Gradient of :func:`depthwise_conv` by its input, plus ``residual_grad``.

    Args:
        grad: (N, H, W, C), by the output.
        weight: (C, 1, 7, 7).
        residual_grad: (N, H, W, C), what reaches the input past the convolution; its dtype is the result's.
    """
    dx = F.conv_transpose2d(grad.permute(0, 3, 1, 2), weight.to(grad.dtype), padding=3, groups=grad.shape[-1])
    dx = dx.permute(0, 2, 3, 1).contiguous()
    return dx if residual_grad is None else residual_grad + dx.to(residual_grad.dtype)


def depthwise_weight_grad(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`depthwise_conv` by weight (C, 1, 7, 7) and bias (C,), at least fp32; given (N, H, W, C)."""
    wide, channels = _wide(grad), x.shape[-1]
    weight = torch.nn.grad.conv2d_weight(
        _wide(x).permute(0, 3, 1, 2), (channels, 1, 7, 7), wide.permute(0, 3, 1, 2), padding=3, groups=channels)
    return weight.reshape(channels, 7, 7).contiguous().unsqueeze(1), wide.sum((0, 1, 2))


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-6) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNorm over the last axis.

    ::

        mean = mean_c x;  rstd = 1 / sqrt(mean_c (x - mean)^2 + eps);  y = (x - mean) * rstd * weight + bias

    Args:
        x: (..., C).
        weight, bias: (C,).

    Returns:
        y (..., C) in ``x``'s dtype; mean (...) and rstd (...) in at least fp32, for the backward pass.

    Source: arXiv:1607.06450 section 3.
    """
    wide = _wide(x)
    y, mean, rstd = torch.native_layer_norm(wide, (x.shape[-1],), weight.to(wide.dtype), bias.to(wide.dtype), eps)
    return y.to(x.dtype), mean.squeeze(-1), rstd.squeeze(-1)


def layer_norm_backward(grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor, bias: Tensor,
                        recompute: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Backward pass of :func:`layer_norm`; the normalized values are made again from ``x``.

    ::

        n = (x - mean) * rstd;  g = grad * weight;  dx = rstd * (g - mean_c g - n * mean_c (g * n))

    Args:
        grad, x: (..., C).
        mean, rstd: (...), as :func:`layer_norm` returned them.
        weight, bias: (C,).
        recompute: also give the output of the forward pass, which then need not be kept.

    Returns:
        dx (..., C) in ``x``'s dtype; dweight (C,) and dbias (C,) in at least fp32; n * weight + bias in ``x``'s dtype,
        or an empty tensor.
    """
    wide, channels = _wide(grad), x.shape[-1]
    n = (_wide(x) - mean.unsqueeze(-1)) * rstd.unsqueeze(-1)
    g = wide * weight
    dx = rstd.unsqueeze(-1) * (g - g.mean(-1, keepdim=True) - n * (g * n).mean(-1, keepdim=True))
    y = (n * weight + bias).to(x.dtype) if recompute else x.new_empty(0)
    return dx.to(x.dtype), (wide * n).reshape(-1, channels).sum(0), wide.reshape(-1, channels).sum(0), y


def depthwise_layer_norm(x: Tensor, weight: Tensor, bias: Tensor, norm_weight: Tensor, norm_bias: Tensor,
                         eps: float = 1e-6, keep: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """:func:`depthwise_conv`, then :func:`layer_norm`.

    Args:
        x: (N, H, W, C).
        weight: (C, 1, 7, 7).
        bias, norm_weight, norm_bias: (C,).
        keep: also give what the backward pass needs; else it is computed again there.

    Returns:
        The result (N, H, W, C); the convolution's output (N, H, W, C), mean and rstd (N, H, W), or three empty tensors.
    """
    y = depthwise_conv(x, weight, bias)
    out, mean, rstd = layer_norm(y, norm_weight, norm_bias, eps)
    return (out, y, mean, rstd) if keep else (out, y.new_empty(0), mean.new_empty(0), rstd.new_empty(0))


def linear_gelu(x: Tensor, weight: Tensor, bias: Tensor, keep: bool = True) -> tuple[Tensor, Tensor]:
    """gelu(h), h = x @ weight.T + bias, with the exact GELU: h * (1 + erf(h / sqrt(2))) / 2.

    Args:
        x: (..., K).
        weight: (C, K).
        bias: (C,).
        keep: also give h, for the backward pass; else it is computed again there.

    Returns:
        gelu(h) (..., C); h (..., C), or an empty tensor.

    Source: arXiv:1606.08415 section 2.
    """
    hidden = F.linear(x, weight, bias.to(x.dtype))
    return F.gelu(hidden), hidden if keep else hidden.new_empty(0)


def gelu_backward(hidden: Tensor, grad: Tensor, sample_scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """s * gelu(hidden) and s * grad * gelu'(hidden): what both matrix products of a backward pass ask for.

    Args:
        hidden, grad: (N, ..., C).
        sample_scale: s, (N,), for instance drop path's 0 or 1 / (1 - p); none is 1.
    """
    h = _wide(hidden)
    below = (1 + torch.erf(h * 0.5 ** 0.5)) / 2  # the normal distribution function
    slope = below + h * torch.exp(-h * h / 2) * (2 * torch.pi) ** -0.5
    scale = 1. if sample_scale is None else _for_sample(sample_scale, h)
    return (scale * h * below).to(hidden.dtype), (scale * _wide(grad) * slope).to(grad.dtype)


def mlp_backward(x: Tensor, weight1: Tensor, bias1: Tensor, grad: Tensor, weight2: Tensor,
                 sample_scale: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Backward pass through the hidden layer h = x @ weight1.T + bias1 of gelu(h) @ weight2.T, without a stored h.

    Args:
        x: (N, ..., K).
        weight1: (C, K).
        bias1: (C,).
        grad: (N, ..., L), by the second layer's output; L = K for the Triton kernel.
        weight2: (L, C). Layer scale may be multiplied in, but not in fp16, which cannot hold 1e-6 of a weight.
        sample_scale: s, (N,): what the second layer's output was multiplied with.

    Returns:
        s * gelu(h) and s * (grad @ weight2) * gelu'(h), both (N, ..., C).
    """
    return gelu_backward(F.linear(x, weight1, bias1.to(x.dtype)), grad @ weight2, sample_scale)


def linear_residual(x: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor | None, sample_scale: Tensor | None,
                    residual: Tensor) -> Tensor:
    """residual + s * gamma * (x @ weight.T + bias).

    Args:
        x: (N, ..., K).
        weight: (C, K).
        bias: (C,).
        gamma: (C,), layer scale; none is 1.
        sample_scale: s, (N,), for instance drop path's 0 or 1 / (1 - p); none is 1.
        residual: (N, ..., C); its dtype is the result's.
    """
    y = F.linear(x, weight, bias.to(x.dtype)).to(residual.dtype)
    if gamma is not None:
        y = gamma.to(y.dtype) * y
    if sample_scale is not None:
        y = _for_sample(sample_scale.to(y.dtype), y) * y
    return residual + y


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


def global_response_norm_backward(grad: Tensor, x: Tensor, gamma: Tensor, eps: float = 1e-6,
                                  ) -> tuple[Tensor, Tensor, Tensor]:
    """Backward pass of :func:`global_response_norm`; nothing but its input is kept.

    ::

        t_nc = sum_hw grad * x;  d_n = mean_c G + eps;  q = (gamma * t / d - mean_c (gamma * t * G) / d^2) / G
        dx = grad * (1 + gamma * N) + x * q;  dgamma = sum_n N * t;  dbeta = sum_nhw grad

    where G is 0, x is too and q is taken as 0.

    Args:
        grad, x: (N, H, W, C).
        gamma: (C,).

    Returns:
        dx (N, H, W, C) in ``x``'s dtype; dgamma (C,) and dbeta (C,) in at least fp32.
    """
    wide, g = _wide(x), _wide(grad)
    norm = torch.linalg.vector_norm(wide, dim=(1, 2), keepdim=True)
    mean = norm.mean(dim=-1, keepdim=True) + eps
    response, t = norm / mean, (g * wide).sum((1, 2), keepdim=True)
    by_norm = gamma * t / mean - (gamma * t * norm).mean(dim=-1, keepdim=True) / mean ** 2
    q = torch.where(norm > 0, by_norm / norm, torch.zeros_like(norm))
    dx = g * (1 + gamma * response) + wide * q
    return dx.to(x.dtype), (response * t).sum((0, 1, 2)), g.sum((0, 1, 2))
