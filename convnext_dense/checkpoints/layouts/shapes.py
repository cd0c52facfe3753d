"""The same numbers in another shape: views, but for sparse kernels. What has no known shape is left as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

# The widths of stage 0 for which timm and its files write the pointwise layers as 1x1 convolutions (`conv_mlp`).
_TIMM_CONVOLUTIONS = (40, 48, 64, 80)


@dataclass(frozen=True)
class Shape:
    """``text``: the file's shape. ``read`` takes its tensor to ours, ``write`` ours, with the four widths, to its."""

    text: str
    read: Callable[[Tensor], Tensor]
    write: Callable[[Tensor, tuple[int, ...]], Tensor]


def _as_vector(x: Tensor) -> Tensor:
    """(C,), (1, C), (1, 1, 1, C), (C, 1, 1) and (1, C, 1, 1) -> (C,)."""
    return x.reshape(-1) if x.dim() and x.numel() == max(x.shape) else x


def _as_row(x: Tensor) -> Tensor:
    return _as_vector(x)[None, None, None] if _as_vector(x).dim() == 1 else x


def _as_linear(x: Tensor) -> Tensor:
    return x[:, :, 0, 0] if x.dim() == 4 and x.shape[2:] == (1, 1) else x


def _as_convolution(x: Tensor) -> Tensor:
    return x[:, :, None, None] if x.dim() == 2 else x


def _timm_writes(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    published = dims[0] in _TIMM_CONVOLUTIONS and dims == tuple(
        dims[0] * 2**i for i in range(len(dims))
    )
    return _as_convolution(x) if published else x


def _from_kernel(x: Tensor) -> Tensor:
    """(k*k, I, O) -> (O, I, k, k), or depthwise (k*k, C) -> (C, 1, k, k); MinkowskiEngine counts columns first."""
    side = round(x.shape[0] ** 0.5) if x.dim() else 0
    if x.dim() not in (2, 3) or side * side != x.shape[0]:
        return x
    x = x.unsqueeze(1) if x.dim() == 2 else x
    return x.unflatten(0, (side, side)).permute(3, 2, 1, 0)


def _to_kernel(x: Tensor) -> Tensor:
    x = x.permute(3, 2, 1, 0).flatten(0, 1)
    return x.squeeze(1)


def _to_convolution_kernel(x: Tensor) -> Tensor:
    return x.permute(3, 2, 1, 0).flatten(0, 1)


SAME = Shape('as ours', lambda x: x, lambda x, dims: x)
LINEAR = Shape('(O, I), or (O, I, 1, 1) read', _as_linear, lambda x, dims: x)
LINEAR_TIMM = Shape('(O, I), or (O, I, 1, 1) in the small ones', _as_linear, _timm_writes)
CONVOLUTION = Shape('(O, I, 1, 1)', _as_linear, lambda x, dims: _as_convolution(x))
GRN = Shape('(1, 1, 1, 4C)', _as_row, lambda x, dims: _as_row(x))
GRN_VECTOR = Shape('(4C,)', _as_row, lambda x, dims: _as_vector(x))
GRN_ROW = Shape('(1, 4C)', _as_row, lambda x, dims: _as_vector(x)[None])
COLUMN = Shape('(C, 1, 1)', _as_vector, lambda x, dims: _as_vector(x)[:, None, None])
ROW = Shape('(1, C)', _as_vector, lambda x, dims: _as_vector(x)[None])
DEPTHWISE_KERNEL = Shape('(k*k, C)', _from_kernel, lambda x, dims: _to_kernel(x))
KERNEL = Shape('(k*k, I, O)', _from_kernel, lambda x, dims: _to_convolution_kernel(x))
