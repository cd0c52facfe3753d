"""The block's operations in plain torch: the reference, on any device."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight


class TorchOps:
    """Reference implementation of :class:`convnext_dense.ops.BlockOps`.

    Every operation computes in the dtype of its input, with statistics and sums in at least fp32;
    float64 inputs make it an oracle. Inputs are not copied to fp32 where torch's own operation
    accumulates in fp32 anyway.
    """

    tile_pixels: int | None = None

    def depthwise_conv(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """7x7 depthwise convolution with stride 1, padded with zeros to the same size.

        Args:
            x: (N, H, W, C).
            weight: (C, 1, 7, 7).
            bias: (C,).

        Returns:
            (N, H, W, C) in ``x``'s dtype.
        """
        weight = weight.to(x.dtype)
        bias = bias.to(x.dtype)
        y = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=3, groups=x.shape[-1])
        return y.permute(0, 2, 3, 1).contiguous()

    def depthwise_input_grad(
        self, grad: Tensor, weight: Tensor, residual_grad: Tensor | None = None
    ) -> Tensor:
        """Gradient of :meth:`depthwise_conv` w.r.t. ``x``, plus ``residual_grad``.

        Args:
            grad: (N, H, W, C), w.r.t. the output.
            weight: (C, 1, 7, 7).
            residual_grad: (N, H, W, C), the gradient that bypasses the convolution.

        Returns:
            (N, H, W, C) in the dtype of ``residual_grad``, or of ``grad`` without it.
        """
        grad_nchw = grad.permute(0, 3, 1, 2)
        dx, _, _ = torch.ops.aten.convolution_backward(
            grad_nchw,
            grad_nchw,  # stands for x, of which only shape and strides are read
            weight.to(grad.dtype),
            bias_sizes=None,
            stride=[1, 1],
            padding=[3, 3],
            dilation=[1, 1],
            transposed=False,
            output_padding=[0, 0],
            groups=grad.shape[-1],
            output_mask=[True, False, False],
        )
        dx = dx.permute(0, 2, 3, 1).contiguous()
        if residual_grad is None:
            return dx
        if residual_grad.dtype == dx.dtype:
            return dx.add_(residual_grad)
        return (dx + residual_grad).to(residual_grad.dtype)

    def depthwise_weight_grad(self, grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of :meth:`depthwise_conv` w.r.t. ``weight`` and ``bias``.

        Args:
            grad: (N, H, W, C), w.r.t. the output.
            x: (N, H, W, C).

        Returns:
            dweight (C, 1, 7, 7) and dbias (C,) in at least fp32.
        """
        channels = x.shape[-1]
        dweight = conv2d_weight(
            _accumulated_in_fp32('cuda', x).permute(0, 3, 1, 2),
            (channels, 1, 7, 7),
            _accumulated_in_fp32('cuda', grad).permute(0, 3, 1, 2),
            padding=3,
            groups=channels,
        )
        dweight = dweight.to(at_least_fp32(grad.dtype)).contiguous()
        return dweight, grad.sum((0, 1, 2), dtype=dweight.dtype)

    def layer_norm(
        self, x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-6
    ) -> tuple[Tensor, Tensor, Tensor]:
        """LayerNorm over the last axis.

        ::

            mean = mean_c x
            rstd = 1 / sqrt(mean_c (x - mean)^2 + eps)
            y = (x - mean) * rstd * weight + bias

        Args:
            x: (..., C).
            weight: (C,).
            bias: (C,).
            eps: added to the variance.

        Returns:
            y (..., C) in ``x``'s dtype; mean (..., 1) and rstd (..., 1) in at least fp32, for the
            backward pass.

        Source: arXiv:1607.06450 section 3.
        """
        dtype = at_least_fp32(x.dtype)
        y, mean, rstd = torch.native_layer_norm(
            _accumulated_in_fp32('cpu', x), x.shape[-1:], weight.to(dtype), bias.to(dtype), eps
        )
        return y.to(x.dtype), mean.to(dtype), rstd.to(dtype)

    def layer_norm_backward(
        self, grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Backward pass of :meth:`layer_norm`.

        ::

            n = (x - mean) * rstd
            g = grad * weight
            dx = rstd * (g - mean_c g - n * mean_c (g * n))
            dweight = sum grad * n;  dbias = sum grad

        Args:
            grad: (..., C), w.r.t. y.
            x: (..., C).
            mean: (..., 1), as :meth:`layer_norm` returned it.
            rstd: (..., 1), as :meth:`layer_norm` returned it.
            weight: (C,).

        Returns:
            dx (..., C) in ``x``'s dtype; dweight (C,) and dbias (C,) in at least fp32.
        """
        dtype = mean.dtype
        weight = weight.to(dtype)
        bias = weight  # only its shape is read
        dx, dweight, dbias = torch.ops.aten.native_layer_norm_backward(
            grad.to(dtype), x.to(dtype), x.shape[-1:], mean, rstd, weight, bias, [True, True, True]
        )
        return dx.to(x.dtype), dweight, dbias

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Linear layer x @ weight.T + bias: (..., K), (O, K), (O,) -> (..., O)."""
        return F.linear(x, weight, bias)

    def linear_input_grad(self, grad: Tensor, weight: Tensor) -> Tensor:
        """Gradient of :meth:`linear` w.r.t. ``x``, grad @ weight: (..., O), (O, K) -> (..., K)."""
        return grad @ weight

    def linear_weight_grad(self, grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of :meth:`linear` w.r.t. ``weight`` and ``bias``.

        ::

            dweight = grad.T @ x;  dbias = sum grad

        Args:
            grad: (..., O), w.r.t. the output.
            x: (..., K).

        Returns:
            dweight (O, K) and dbias (O,) in at least fp32.
        """
        dtype = at_least_fp32(grad.dtype)
        grad_rows = grad.reshape(-1, grad.shape[-1])
        x_rows = x.reshape(-1, x.shape[-1])
        dweight = grad_rows.t() @ x_rows
        return dweight.to(dtype), grad_rows.sum(0, dtype=dtype)

    def linear_gelu(
        self, x: Tensor, weight: Tensor, bias: Tensor, keep: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """gelu(h) with h = x @ weight.T + bias and the exact GELU, h * (1 + erf(h / sqrt(2))) / 2.

        Args:
            x: (..., K).
            weight: (O, K).
            bias: (O,).
            keep: return h for the backward pass, not None.

        Returns:
            gelu(h) (..., O); h (..., O) or None.

        Source: arXiv:1606.08415 section 2.
        """
        hidden = self.linear(x, weight, bias)
        return F.gelu(hidden), hidden if keep else None

    def gelu_backward(self, grad: Tensor, hidden: Tensor) -> Tensor:
        """Gradient of the exact GELU w.r.t. its input, grad * gelu'(hidden); all (..., C)."""
        return torch.ops.aten.gelu_backward(grad, hidden).to(grad.dtype)

    def linear_residual(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        gamma: Tensor | None,
        scale: Tensor | None,
        residual: Tensor,
    ) -> Tensor:
        """Linear layer, layer scale, drop path and residual sum.

        ::

            out = residual + scale * gamma * (x @ weight.T + bias)

        Args:
            x: (..., K).
            weight: (O, K).
            bias: (O,).
            gamma: (O,), layer scale, or None for 1.
            scale: (N, 1, ..., 1), drop path's factor of each sample, or None for 1.
            residual: (..., O).

        Returns:
            (..., O) in the dtype of ``residual``.
        """
        y = self.linear(x, weight, bias)
        if scale is not None and gamma is not None:
            factor = scale * gamma
        elif scale is not None:
            factor = scale
        elif gamma is not None:
            factor = gamma
        else:
            return (residual + y).to(residual.dtype)
        # The sum has the dtype of the factor: bf16 for a bf16 residual, which saves a cast. For
        # fp16 it is fp32, because fp16 holds gamma's initial value 1e-6 only roughly.
        factor = factor.to(torch.promote_types(residual.dtype, torch.bfloat16))
        return torch.addcmul(residual, y, factor).to(residual.dtype)

    def global_response_norm(
        self, x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-6
    ) -> Tensor:
        """Global Response Normalization.

        ::

            G_nc = sqrt(sum_hw x_nhwc^2)
            N_nc = G_nc / (mean_c G_nc + eps)
            y = gamma * (x * N) + beta + x

        Computed in at least fp32, so that maps whose spatial norm exceeds fp16's largest number,
        65504, stay finite.

        Args:
            x: (N, H, W, C).
            gamma: (C,).
            beta: (C,).
            eps: added to the mean of G over channels.

        Returns:
            (N, H, W, C) in ``x``'s dtype.

        Source: arXiv:2301.00808 section 3.2, algorithm 1; facebookresearch/ConvNeXt-V2
        models/utils.py:GRN @ 2553895.
        Differs: always computes in at least fp32.
        """
        dtype = at_least_fp32(x.dtype)
        norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True, dtype=dtype)  # (N, 1, 1, C)
        response = norm / (norm.mean(dim=-1, keepdim=True) + eps)  # (N, 1, 1, C)
        y = torch.addcmul(beta.to(dtype), x, 1 + gamma * response)  # (N, H, W, C)
        return y.to(x.dtype)

    def global_response_norm_backward(
        self, grad: Tensor, x: Tensor, gamma: Tensor, eps: float = 1e-6
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Backward pass of :meth:`global_response_norm`.

        ::

            t_nc = sum_hw grad * x
            d_n = mean_c G + eps
            q = (gamma * t / d - mean_c (gamma * t * G) / d^2) / G
            dx = grad * (1 + gamma * N) + x * q
            dgamma = sum_n N * t;  dbeta = sum_nhw grad

        Where G is 0, so is x, and q is set to 0.

        Args:
            grad: (N, H, W, C), w.r.t. y.
            x: (N, H, W, C).
            gamma: (C,).
            eps: as in the forward pass.

        Returns:
            dx (N, H, W, C) in ``x``'s dtype; dgamma (C,) and dbeta (C,) in at least fp32.
        """
        dtype = at_least_fp32(x.dtype)
        norm = torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True, dtype=dtype)  # (N, 1, 1, C)
        d = norm.mean(dim=-1, keepdim=True) + eps  # (N, 1, 1, 1)
        response = norm / d  # (N, 1, 1, C)
        # addcmul multiplies in the dtype of what it adds to, here fp32, with no copies of both
        # maps.
        products = torch.addcmul(norm.new_zeros(1), grad, x)  # (N, H, W, C)
        t = products.sum((1, 2), keepdim=True)  # (N, 1, 1, C)
        dnorm = gamma * t / d - (gamma * t * norm).mean(dim=-1, keepdim=True) / d**2
        q = torch.where(norm > 0, dnorm / norm, torch.zeros_like(norm))  # (N, 1, 1, C)
        dx = (grad * (1 + gamma * response)).addcmul_(x, q)  # (N, H, W, C)
        dgamma = (response * t).sum((0, 1, 2))
        return dx.to(x.dtype), dgamma, grad.sum((0, 1, 2), dtype=dtype)


def at_least_fp32(dtype: torch.dtype) -> torch.dtype:
    """The dtype of statistics and sums for maps of ``dtype``."""
    return torch.promote_types(dtype, torch.float32)


def _accumulated_in_fp32(device_type: str, x: Tensor) -> Tensor:
    """``x`` in at least fp32, or unchanged on the device type whose kernel accumulates in fp32."""
    if x.device.type == device_type:
        return x
    return x.to(at_least_fp32(x.dtype))
