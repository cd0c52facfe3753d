"""The block's operations by Triton kernels where they can run, and by torch where they cannot."""

import os

import torch
from torch import Tensor

from convnext_dense.kernels import (
    depthwise_conv,
    depthwise_weight_grad,
    global_response_norm,
    layer_norm,
    linear,
)
from convnext_dense.ops import TorchOps

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
CAPABILITY = (8, 0)  # the oldest GPUs that have tensor cores for bf16
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'  # kernels run on the CPU, for tests


def find_reasons(
    *tensors: Tensor | None, one_dtype: bool = False, most_channels: int | None = None
) -> list[str]:
    """List why no kernel can run on these tensors; an empty list means that it can.

    Args:
        tensors: the first is a feature map (N, H, W, C) or (..., C); None stands for one that an
            operation does without.
        one_dtype: the first two are the factors of a matrix product, which must share a dtype.
        most_channels: channels that fit a program of the kernel.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    x = given[0]
    reasons = []
    if not x.is_cuda and not INTERPRETED:
        reasons.append(f'the kernels need a CUDA device, got {x.device}')
    elif x.is_cuda and torch.cuda.get_device_capability(x.device) < CAPABILITY:
        reasons.append('the kernels need a GPU of compute capability 8.0 or newer')
    for tensor in given:
        if tensor.dtype not in DTYPES:
            reasons.append(f'the kernels take float16, bfloat16 and float32, got {tensor.dtype}')
    if one_dtype and given[0].dtype != given[1].dtype:
        reasons.append(f'the factors must share a dtype, got {x.dtype} and {given[1].dtype}')
    channels = x.shape[-1]
    if most_channels is not None and channels > most_channels:
        reasons.append(f'at most {most_channels} channels fit a program, got {channels}')
    # Rows are counted in 32 bits, and so are places within eight rows of a map.
    if x.shape[:-1].numel() >= 2**31 or 8 * x.shape[-2] * channels >= 2**31:
        reasons.append(f'a map of shape {tuple(x.shape)} is too large for 32-bit offsets')
    return reasons


class TritonOps(TorchOps):
    """Operations by Triton kernels; :class:`TorchOps` documents them and is the fallback."""

    def depthwise_conv(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if find_reasons(x, weight, bias):
            return super().depthwise_conv(x, weight, bias)
        return depthwise_conv.depthwise_conv(x, weight, bias)

    def depthwise_input_grad(
        self, grad: Tensor, weight: Tensor, residual_grad: Tensor | None = None
    ) -> Tensor:
        if find_reasons(grad, weight, residual_grad):
            return super().depthwise_input_grad(grad, weight, residual_grad)
        return depthwise_conv.depthwise_input_grad(grad, weight, residual_grad)

    def depthwise_weight_grad(self, grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        if find_reasons(grad, x):
            return super().depthwise_weight_grad(grad, x)
        return depthwise_weight_grad.depthwise_weight_grad(grad, x)

    def layer_norm(
        self, x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-6
    ) -> tuple[Tensor, Tensor, Tensor]:
        if find_reasons(x, weight, bias, most_channels=layer_norm.WIDEST_FORWARD):
            return super().layer_norm(x, weight, bias, eps)
        return layer_norm.layer_norm(x, weight, bias, eps)

    def layer_norm_backward(
        self, grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        if find_reasons(grad, x, mean, rstd, weight, most_channels=layer_norm.WIDEST_BACKWARD):
            return super().layer_norm_backward(grad, x, mean, rstd, weight)
        return layer_norm.layer_norm_backward(grad, x, mean, rstd, weight)

    def linear_gelu(
        self, x: Tensor, weight: Tensor, bias: Tensor, keep: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        if find_reasons(x, weight, bias, one_dtype=True):
            return super().linear_gelu(x, weight, bias, keep)
        return linear.linear_gelu(x, weight, bias, keep)

    def linear_residual(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        gamma: Tensor | None,
        scale: Tensor | None,
        residual: Tensor,
    ) -> Tensor:
        if find_reasons(x, weight, bias, gamma, scale, residual, one_dtype=True):
            return super().linear_residual(x, weight, bias, gamma, scale, residual)
        return linear.linear_residual(x, weight, bias, gamma, scale, residual)

    def global_response_norm(
        self, x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-6
    ) -> Tensor:
        if find_reasons(x, gamma, beta):
            return super().global_response_norm(x, gamma, beta, eps)
        return global_response_norm.global_response_norm(x, gamma, beta, eps)

    def global_response_norm_backward(
        self, grad: Tensor, x: Tensor, gamma: Tensor, eps: float = 1e-6
    ) -> tuple[Tensor, Tensor, Tensor]:
        if find_reasons(grad, x, gamma):
            return super().global_response_norm_backward(grad, x, gamma, eps)
        return global_response_norm.global_response_norm_backward(grad, x, gamma, eps)
