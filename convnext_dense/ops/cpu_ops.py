"""The block's operations in the forms that are fastest on a CPU."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from convnext_dense.ops import matmul
from convnext_dense.ops.probe import fastest
from convnext_dense.ops.torch_ops import TorchOps, at_least_fp32

# Longest side of a convolution kernel cut from a map: oneDNN unrolls its rows, and longer sums in
# fp32 lose digits.
_TILE_SIDE = 64


class CpuOps(TorchOps):
    """Matrix products by oneDNN or MKL, and the depthwise weight gradient by a forward convolution.

    A tile of 2048 pixels is small enough to keep its hidden layer in a CPU's caches.
    """

    tile_pixels: int | None = 2048

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return matmul.linear(x, weight, bias)

    def linear_input_grad(self, grad: Tensor, weight: Tensor) -> Tensor:
        return matmul.input_grad(grad, weight)

    def linear_weight_grad(self, grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        dtype = at_least_fp32(grad.dtype)
        dbias = grad.reshape(-1, grad.shape[-1]).sum(0, dtype=dtype)
        return matmul.weight_grad(grad, x).to(dtype), dbias

    def depthwise_weight_grad(self, grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        method = choose_depthwise_method(x)
        return DEPTHWISE_METHODS[method](grad, x)


def _by_forward_convolution(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The weight gradient as the correlation of the padded input with ``grad``.

    oneDNN computes it by a depthwise forward convolution whose kernel is ``grad``, several times
    faster than by its own weight gradient (docs/performance/how_it_works.md).
    """
    dtype = at_least_fp32(x.dtype)
    dweight = torch.zeros(1, x.shape[-1], 7, 7, dtype=dtype, device=x.device)
    for image, image_grad in zip(x.permute(0, 3, 1, 2), grad.permute(0, 3, 1, 2), strict=True):
        dweight += _correlate(image[None], image_grad[:, None])
    return dweight.transpose(0, 1), grad.sum((0, 1, 2), dtype=dtype)


def _correlate(x: Tensor, kernel: Tensor) -> Tensor:
    """Correlation of a padded (1, C, H, W) with kernels (C, 1, H, W), in tiles: (1, C, 7, 7)."""
    channels, height, width = x.shape[1:]
    if max(height, width) <= _TILE_SIDE:
        return F.conv2d(x, kernel, padding=3, groups=channels)
    x = F.pad(x, (3, 3, 3, 3))
    total = torch.zeros(1, channels, 7, 7, dtype=at_least_fp32(x.dtype), device=x.device)
    for top in range(0, height, _TILE_SIDE):
        for left in range(0, width, _TILE_SIDE):
            kernel_tile = kernel[..., top : top + _TILE_SIDE, left : left + _TILE_SIDE]
            # Padded by 3 on each side, the tile of the input is larger by 6.
            x_tile = x[..., top : top + _TILE_SIDE + 6, left : left + _TILE_SIDE + 6]
            total += F.conv2d(x_tile, kernel_tile, groups=channels)
    return total


# Name of a method -> the function. The first method is the preferred one.
DEPTHWISE_METHODS: dict[str, Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]] = {
    'forward': _by_forward_convolution,
    'backward': TorchOps().depthwise_weight_grad,
}


def choose_depthwise_method(x: Tensor) -> str:
    """The name of the method in :data:`DEPTHWISE_METHODS` that runs for a map ``x``."""
    if not x.numel() or x.dtype == torch.float64 or not torch.backends.mkldnn.is_available():
        return 'backward'
    if torch.are_deterministic_algorithms_enabled():
        # Another run's probe may choose another method, which rounds sums differently.
        return 'forward'
    return _probe_depthwise(x.dtype, torch.get_num_threads())


@functools.cache
def _probe_depthwise(dtype: torch.dtype, threads: int) -> str:
    """The fastest method, measured once in a process for each dtype and number of threads."""
    ones = torch.ones(1, 32, 32, 64, dtype=dtype, device='cpu')
    calls = {}
    for name, method in DEPTHWISE_METHODS.items():
        calls[name] = functools.partial(method, ones, ones)
    return fastest(calls)
