"""Backward pass of a LayerNorm without weight and bias, from its output. A program holds whole rows, read once."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.shared import blocks, row_start

TILE = 2048  # elements of a tile, 4 warps, two tiles: 32 values a thread


@triton.jit(do_not_specialize=['n_rows'])
def normalize_backward_kernel(
    grad_ptr,
    n_ptr,
    rstd_ptr,
    dy_ptr,
    n_rows,
    C: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ROWS: tl.constexpr,
):
    """ROWS rows.

    Args:
        grad_ptr, n_ptr, dy_ptr: (n_rows, C).
        rstd_ptr: (n_rows,) fp32.
        BLOCK_C: the power of two from C on; channels past C are masked: 0, they add nothing to the sums.
    """
    first = tl.program_id(0) * ROWS
    row, channel = tl.arange(0, ROWS), tl.arange(0, BLOCK_C)
    in_rows = first + row < n_rows
    mask = in_rows[:, None] & (channel < C)[None, :]
    start, offset = row_start(first, C), row[:, None] * C + channel[None, :]
    grad = tl.load(grad_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
    n = tl.load(n_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
    rstd = tl.load(rstd_ptr + row_start(first, 1) + row, mask=in_rows, other=0.0)
    dy = rstd[:, None] * (
        grad - (tl.sum(grad, 1) / C)[:, None] - n * (tl.sum(grad * n, 1) / C)[:, None]
    )
    tl.store(dy_ptr + start + offset, dy.to(dy_ptr.dtype.element_ty), mask=mask)


def normalize_backward(grad: Tensor, n: Tensor, rstd: Tensor) -> Tensor:
    """See :func:`convnext_dense.ops.reference.normalize_backward`."""
    grad, n, channels = grad.contiguous(), n.contiguous(), n.shape[-1]
    rows, block, dy = n.numel() // channels, triton.next_power_of_2(channels), torch.empty_like(n)
    tile_rows = max(TILE // block, 1)
    normalize_backward_kernel[(blocks(rows, tile_rows),)](
        grad, n, rstd.contiguous(), dy, rows, C=channels, BLOCK_C=block, ROWS=tile_rows, num_warps=4
    )
    return dy
