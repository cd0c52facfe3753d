"""Plain torch for each operation: what runs where nothing faster does, and what that is compared with.

Maps are N H W C, contiguous. A function computes in the dtype that it is given, statistics in at least fp32; for an
oracle give it fp64. It takes and returns what the operation of the same name in ``functional`` does. Time is bytes
moved, so nothing is copied to fp32 that torch's own operation reads as fp32, and products and sums come in one pass.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def _wide(x: Tensor) -> Tensor:
    return x.to(_wide_dtype(x))


def _wide_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _unless_on(device: str, x: Tensor) -> Tensor:
    """``x`` in at least fp32, or as it is on a device whose operation takes fp16 and bf16 and sums in fp32."""
    return x if x.device.type == device else _wide(x)


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


def depthwise_input_grad(
    grad: Tensor, weight: Tensor, residual_grad: Tensor | None = None
) -> Tensor:
    """Gradient of :func:`depthwise_conv` by its input, plus ``residual_grad``.

    Args:
        grad: (N, H, W, C), by the output.
        weight: (C, 1, 7, 7).
        residual_grad: (N, H, W, C), what reaches the input past the convolution; its dtype is the result's.
    """
    nchw = grad.permute(
        0, 3, 1, 2
    )  # also stands for the input: of that only shape and strides are looked at
    dx, _, _ = torch.ops.aten.convolution_backward(
        nchw,
        nchw,
        weight.to(grad.dtype),
        None,
        [1, 1],
        [3, 3],
        [1, 1],
        False,
        [0, 0],
        grad.shape[-1],
        [True, False, False],
    )
    dx = dx.permute(0, 2, 3, 1).contiguous()
    return dx if residual_grad is None else (residual_grad + dx).to(residual_grad.dtype)


def depthwise_weight_grad(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of :func:`depthwise_conv` by weight (C, 1, 7, 7) and bias (C,), at least fp32; given (N, H, W, C)."""
    dtype, channels = _wide_dtype(grad), x.shape[-1]
    weight = torch.nn.grad.conv2d_weight(
        _unless_on('cuda', x).permute(0, 3, 1, 2),
        (channels, 1, 7, 7),
        _unless_on('cuda', grad).permute(0, 3, 1, 2),
        padding=3,
        groups=channels,
    )
    return weight.to(dtype).reshape(channels, 7, 7).contiguous().unsqueeze(1), grad.sum(
        (0, 1, 2), dtype=dtype
    )


def layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
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
    dtype = _wide_dtype(x)
    y, mean, rstd = torch.native_layer_norm(
        _unless_on('cpu', x), (x.shape[-1],), weight.to(dtype), bias.to(dtype), eps
    )
    return y.to(x.dtype), mean.squeeze(-1).to(dtype), rstd.squeeze(-1).to(dtype)


def layer_norm_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Backward pass of :func:`layer_norm`; the normalized values are made again from ``x``.

    ::

        n = (x - mean) * rstd;  g = grad * weight;  dx = rstd * (g - mean_c g - n * mean_c (g * n))

    Args:
        grad, x: (..., C).
        mean, rstd: (...), as :func:`layer_norm` returned them.
        weight: (C,).

    Returns:
        dx (..., C) in ``x``'s dtype; dweight (C,) and dbias (C,) in at least fp32.
    """
    weight = weight.to(mean.dtype)  # also stands for the bias: of that only the shape is looked at
    dx, dweight, dbias = torch.ops.aten.native_layer_norm_backward(
        _wide(grad),
        _wide(x),
        (x.shape[-1],),
        mean.unsqueeze(-1),
        rstd.unsqueeze(-1),
        weight,
        weight,
        [True] * 3,
    )
    return dx.to(x.dtype), dweight, dbias


def depthwise_normalize(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-6
) -> tuple[Tensor, Tensor]:
    """:func:`depthwise_conv`, then :func:`layer_norm` without weight and bias: a product that follows takes those in.

    ::

        y = depthwise_conv(x);  rstd = 1 / sqrt(mean_c (y - mean_c y)^2 + eps);  n = (y - mean_c y) * rstd

    Args:
        x: (N, H, W, C).
        weight: (C, 1, 7, 7).
        bias: (C,).

    Returns:
        n (N, H, W, C) in ``x``'s dtype; rstd (N, H, W) in at least fp32: all that :func:`normalize_backward` asks for.
    """
    y, dtype = depthwise_conv(x, weight, bias), _wide_dtype(x)
    n, _, rstd = torch.native_layer_norm(y, y.shape[-1:], make_ones(y), None, eps)
    return n, rstd.squeeze(-1).to(dtype)


def normalize_backward(grad: Tensor, n: Tensor, rstd: Tensor) -> Tensor:
    """Gradient of a LayerNorm without weight and bias by its input, from what it gave.

    ::

        dy = rstd * (grad - mean_c grad - n * mean_c (grad * n))

    Args:
        grad, n: (..., C).
        rstd: (...).

    Returns:
        dy (..., C) in ``n``'s dtype.
    """
    rstd = rstd.unsqueeze(-1)
    # torch's own takes the input (n, if the mean is 0 and rstd 1) and one rstd for both of its places.
    dy, _, _ = torch.ops.aten.native_layer_norm_backward(
        grad.to(n.dtype),
        n,
        n.shape[-1:],
        torch.zeros_like(rstd),
        torch.ones_like(rstd),
        make_ones(n),
        None,
        [True, False, False],
    )
    return dy.mul_(rstd)


def make_ones(x: Tensor) -> Tensor | None:
    """A weight for LayerNorm: on a CPU statistics have its dtype, and without one the loop is twice as slow."""
    return x.new_ones(x.shape[-1], dtype=_wide_dtype(x)) if x.device.type == 'cpu' else None


def linear_gelu(
    x: Tensor, weight: Tensor, bias: Tensor, keep: bool = True
) -> tuple[Tensor, Tensor]:
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


def gelu_backward(
    hidden: Tensor, grad: Tensor, sample_scale: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """s * gelu(hidden) and s * grad * gelu'(hidden): what both matrix products of a backward pass ask for.

    Args:
        hidden, grad: (N, ..., C).
        sample_scale: s, (N,), for instance drop path's 0 or 1 / (1 - p); none is 1.
    """
    out, dhidden = F.gelu(hidden), torch.ops.aten.gelu_backward(grad, hidden).to(grad.dtype)
    if sample_scale is not None:
        scale = _for_sample(sample_scale, hidden)
        out, dhidden = out.mul_(scale), dhidden.mul_(scale)
    return out, dhidden


def mlp_backward(
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    grad: Tensor,
    weight2: Tensor,
    sample_scale: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
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


def linear_residual(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    gamma: Tensor | None,
    sample_scale: Tensor | None,
    residual: Tensor,
) -> Tensor:
    """residual + s * gamma * (x @ weight.T + bias).

    Args:
        x: (N, ..., K).
        weight: (C, K).
        bias: (C,).
        gamma: (C,), layer scale; none is 1.
        sample_scale: s, (N,), for instance drop path's 0 or 1 / (1 - p); none is 1.
        residual: (N, ..., C); its dtype is the result's.
    """
    return add_scaled(residual, F.linear(x, weight, bias.to(x.dtype)), gamma, sample_scale)


def add_scaled(
    residual: Tensor, y: Tensor, gamma: Tensor | None, sample_scale: Tensor | None
) -> Tensor:
    """residual + s * gamma * y in one pass, as in :func:`linear_residual`."""
    if gamma is None and sample_scale is None:
        return (residual + y).to(residual.dtype)
    factor = (
        gamma
        if sample_scale is None
        else _for_sample(sample_scale, y) * (1 if gamma is None else gamma)
    )
    # bf16 for a residual in bf16, so that the sum is bf16 at once; fp32 for one in fp16, too small for gamma's 1e-6.
    factor = factor.to(torch.promote_types(residual.dtype, torch.bfloat16))
    return torch.addcmul(residual, y, factor).to(residual.dtype)


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
    dtype = _wide_dtype(x)
    norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True, dtype=dtype)  # (N, 1, 1, C)
    response = norm / (norm.mean(dim=-1, keepdim=True) + eps)
    return torch.addcmul(beta.to(dtype), x, 1 + gamma * response).to(
        x.dtype
    )  # in fp32, that is the last one's dtype


def global_response_norm_backward(
    grad: Tensor,
    x: Tensor,
    gamma: Tensor,
    eps: float = 1e-6,
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
    dtype = _wide_dtype(x)
    norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True, dtype=dtype)
    mean = norm.mean(dim=-1, keepdim=True) + eps
    products = torch.addcmul(norm.new_zeros(1), grad, x)  # in fp32, as what they are added to
    response, t = norm / mean, products.sum((1, 2), keepdim=True)
    by_norm = gamma * t / mean - (gamma * t * norm).mean(dim=-1, keepdim=True) / mean**2
    q = torch.where(norm > 0, by_norm / norm, torch.zeros_like(norm))
    dx = (grad * (1 + gamma * response)).addcmul_(x, q)
    return dx.to(x.dtype), (response * t).sum((0, 1, 2)), grad.sum((0, 1, 2), dtype=dtype)
