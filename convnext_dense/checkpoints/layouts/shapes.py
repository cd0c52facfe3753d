"""The same numbers in another shape. All but the sparse kernels are views.

A tensor that does not have a known shape is returned as it is; the check of shapes then names it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

# Widths of stage 0 for which timm's published networks have 1x1 convolutions as pointwise layers.
_TIMM_CONVOLUTION_WIDTHS = (40, 48, 64, 80)


@dataclass(frozen=True)
class Shape:
    """How a library shapes a weight.

    Args:
        read: takes their tensor and returns ours.
        write: takes our tensor and the widths of the four stages, and returns theirs.
    """

    read: Callable[[Tensor], Tensor]
    write: Callable[[Tensor, tuple[int, ...]], Tensor]


def _same(x: Tensor, dims: tuple[int, ...] = ()) -> Tensor:
    return x


def _as_vector(x: Tensor, dims: tuple[int, ...] = ()) -> Tensor:
    """(C,), (1, C), (1, 1, 1, C), (C, 1, 1) or (1, C, 1, 1) -> (C,)."""
    if x.dim() and x.numel() == max(x.shape):
        return x.reshape(-1)
    return x


def _as_row(x: Tensor, dims: tuple[int, ...] = ()) -> Tensor:
    """(C,) -> (1, C)."""
    return _as_vector(x)[None]


def _as_column(x: Tensor, dims: tuple[int, ...] = ()) -> Tensor:
    """(C,) -> (C, 1, 1)."""
    return _as_vector(x)[:, None, None]


def _as_grn(x: Tensor, dims: tuple[int, ...] = ()) -> Tensor:
    """(4C,) -> (1, 1, 1, 4C)."""
    vector = _as_vector(x)
    if vector.dim() != 1:
        return x
    return vector[None, None, None]


def _as_linear(x: Tensor) -> Tensor:
    """(O, I, 1, 1) -> (O, I)."""
    if x.dim() == 4 and x.shape[2:] == (1, 1):
        return x[:, :, 0, 0]
    return x


def _as_convolution(x: Tensor, dims: tuple[int, ...] = ()) -> Tensor:
    """(O, I) -> (O, I, 1, 1)."""
    if x.dim() == 2:
        return x[:, :, None, None]
    return x


def _as_timm_publishes(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    doubled = tuple(dims[0] * 2**stage for stage in range(len(dims)))
    if dims[0] in _TIMM_CONVOLUTION_WIDTHS and dims == doubled:
        return _as_convolution(x)
    return x


def _from_sparse_kernel(x: Tensor) -> Tensor:
    """(k*k, I, O) -> (O, I, k, k); depthwise (k*k, C) -> (C, 1, k, k).

    MinkowskiEngine counts the places of a kernel column by column.
    """
    side = round(x.shape[0] ** 0.5) if x.dim() else 0
    if x.dim() not in (2, 3) or side * side != x.shape[0]:
        return x
    kernel = x.unsqueeze(1) if x.dim() == 2 else x
    return kernel.unflatten(0, (side, side)).permute(3, 2, 1, 0)


def _to_sparse_kernel(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """(O, I, k, k) -> (k*k, I, O)."""
    return x.permute(3, 2, 1, 0).flatten(0, 1)


def _to_sparse_depthwise_kernel(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """(C, 1, k, k) -> (k*k, C)."""
    return _to_sparse_kernel(x, dims).squeeze(1)


# Shapes of the file. For each, tensors in the shapes that other versions of the library use are
# read too: linear layers as 1x1 convolutions, and vectors with axes of length 1.
SAME = Shape(_same, _same)
LINEAR = Shape(_as_linear, _same)  # (O, I)
LINEAR_TIMM = Shape(_as_linear, _as_timm_publishes)  # (O, I), in small networks (O, I, 1, 1)
CONVOLUTION = Shape(_as_linear, _as_convolution)  # (O, I, 1, 1)
GRN = Shape(_as_grn, _as_grn)  # (1, 1, 1, 4C)
GRN_VECTOR = Shape(_as_grn, _as_vector)  # (4C,)
GRN_ROW = Shape(_as_grn, _as_row)  # (1, 4C)
COLUMN = Shape(_as_vector, _as_column)  # (C, 1, 1)
ROW = Shape(_as_vector, _as_row)  # (1, C)
DEPTHWISE_KERNEL = Shape(_from_sparse_kernel, _to_sparse_depthwise_kernel)  # (k*k, C)
KERNEL = Shape(_from_sparse_kernel, _to_sparse_kernel)  # (k*k, I, O)
