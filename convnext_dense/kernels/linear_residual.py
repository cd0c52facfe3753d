"""Matrix product, bias, layer scale, a scale for each sample and the residual, in one pass over memory."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.linear_gelu import product_tile
from convnext_dense.kernels.shared import add_products, blocks, row_start


@triton.jit(do_not_specialize=['n_rows', 'rows_per_sample'])
def linear_residual_kernel(
    x_ptr,
    weight_ptr,
    bias_ptr,
    gamma_ptr,
    scale_ptr,
    residual_ptr,
    out_ptr,
    n_rows,
    rows_per_sample,
    GAMMA: tl.constexpr,
    SCALE: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile. Neighbours in the grid share their rows of x; the weight is small and stays in the cache.

    Args:
        x_ptr: (n_rows, K).
        weight_ptr: (N, K).
        bias_ptr: (N,).
        gamma_ptr: (N,), read if GAMMA.
        scale_ptr: (n_rows / rows_per_sample,), read if SCALE.
        residual_ptr, out_ptr: (n_rows, N).
    """
    column_blocks: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    first = tl.program_id(0) // column_blocks * BLOCK_M
    rows, columns = (
        tl.arange(0, BLOCK_M),
        tl.program_id(0) % column_blocks * BLOCK_N + tl.arange(0, BLOCK_N),
    )
    y = add_products(
        tl.zeros((BLOCK_M, BLOCK_N), tl.float32),
        x_ptr + row_start(first, K),
        weight_ptr,
        rows,
        columns,
        n_rows - first,
        N,
        K,
        K,
        1,
        BLOCK_K,
        PRECISION,
    )
    in_rows, in_columns = (
        rows < n_rows - first,
        columns < N,
    )  # rows past the end, columns past the width
    y += tl.load(bias_ptr + columns, mask=in_columns, other=0.0).to(tl.float32)[None, :]
    if GAMMA:
        y *= tl.load(gamma_ptr + columns, mask=in_columns, other=0.0).to(tl.float32)[None, :]
    if SCALE:
        sample = (first + rows) // rows_per_sample
        y *= tl.load(scale_ptr + sample, mask=in_rows, other=0.0).to(tl.float32)[:, None]
    start, offset = row_start(first, N), rows[:, None] * N + columns[None, :]
    mask = in_rows[:, None] & in_columns[None, :]
    y += tl.load(residual_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
    tl.store(out_ptr + start + offset, y.to(out_ptr.dtype.element_ty), mask=mask)


def linear_residual(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    gamma: Tensor | None,
    sample_scale: Tensor | None,
    residual: Tensor,
) -> Tensor:
    """See :func:`convnext_dense.ops.reference.linear_residual`. Rounds once, at the end."""
    x, residual, (width, depth) = x.contiguous(), residual.contiguous(), weight.shape
    tile, out, rows = (
        product_tile(x.dtype, width, depth),
        torch.empty_like(residual),
        x.numel() // depth,
    )
    # Where there is no gamma or scale the kernel gets the bias, and does not read it.
    linear_residual_kernel[(blocks(rows, tile['BLOCK_M']) * blocks(width, tile['BLOCK_N']),)](
        x,
        weight.contiguous(),
        bias.contiguous(),
        (bias if gamma is None else gamma).contiguous(),
        (bias if sample_scale is None else sample_scale).contiguous(),
        residual,
        out,
        rows,
        rows // max(x.shape[0], 1),
        GAMMA=gamma is not None,
        SCALE=sample_scale is not None,
        N=width,
        K=depth,
        **tile,
    )
    return out
