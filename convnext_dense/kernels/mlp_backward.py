"""Backward pass through the hidden layer of a narrow two-layer perceptron.

With few channels a matrix product waits for memory, so the hidden layer, four times as wide as its input, is made again
in the same tile as its gradient: neither is stored in the forward pass, nor read here.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.linear_gelu import step_of
from convnext_dense.kernels.shared import (
    add_products,
    blocks,
    gelu_slope,
    normal_below,
    row_start,
)


def _tile(dtype: torch.dtype, depth: int) -> dict[str, int | str]:
    """Two sums at a time: half as wide a tile as of one product."""
    if dtype == torch.float32:
        return dict(BLOCK_M=64, BLOCK_N=32, BLOCK_K=32, PRECISION='ieee', num_warps=8, num_stages=2)
    return dict(
        BLOCK_M=128, BLOCK_N=64, BLOCK_K=step_of(depth), PRECISION='tf32', num_warps=8, num_stages=3
    )


@triton.jit(do_not_specialize=['n_rows', 'rows_per_sample'])
def mlp_backward_kernel(
    x_ptr,
    weight1_ptr,
    bias_ptr,
    grad_ptr,
    weight2_ptr,
    scale_ptr,
    out_ptr,
    dhidden_ptr,
    n_rows,
    rows_per_sample,
    SCALE: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile of both results.

    Args:
        x_ptr, grad_ptr: (n_rows, K).
        weight1_ptr: (N, K).
        bias_ptr: (N,).
        weight2_ptr: (K, N).
        scale_ptr: (n_rows / rows_per_sample,), read if SCALE.
        out_ptr, dhidden_ptr: (n_rows, N).
    """
    column_blocks: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    first = tl.program_id(0) // column_blocks * BLOCK_M
    rows, columns = (
        tl.arange(0, BLOCK_M),
        tl.program_id(0) % column_blocks * BLOCK_N + tl.arange(0, BLOCK_N),
    )
    zero = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    hidden = add_products(
        zero,
        x_ptr + row_start(first, K),
        weight1_ptr,
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
    grad = add_products(
        zero,
        grad_ptr + row_start(first, K),
        weight2_ptr,
        rows,
        columns,
        n_rows - first,
        N,
        K,
        1,
        N,
        BLOCK_K,
        PRECISION,
    )
    in_rows = rows < n_rows - first  # rows past the end, and columns past the width, are masked
    hidden += tl.load(bias_ptr + columns, mask=columns < N, other=0.0).to(tl.float32)[None, :]
    below = normal_below(hidden)
    out, dhidden = hidden * below, grad * gelu_slope(hidden, below)
    if SCALE:
        sample = (first + rows) // rows_per_sample
        scale = tl.load(scale_ptr + sample, mask=in_rows, other=0.0).to(tl.float32)[:, None]
        out, dhidden = out * scale, dhidden * scale
    start, offset = row_start(first, N), rows[:, None] * N + columns[None, :]
    mask = in_rows[:, None] & (columns < N)[None, :]
    tl.store(out_ptr + start + offset, out.to(out_ptr.dtype.element_ty), mask=mask)
    tl.store(dhidden_ptr + start + offset, dhidden.to(dhidden_ptr.dtype.element_ty), mask=mask)


def mlp_backward(
    x: Tensor,
    weight1: Tensor,
    bias1: Tensor,
    grad: Tensor,
    weight2: Tensor,
    sample_scale: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """See :func:`convnext_dense.ops.reference.mlp_backward`. The hidden layer and its gradient stay in fp32."""
    x, (width, depth) = x.contiguous(), weight1.shape
    tile, rows, out = _tile(x.dtype, depth), x.numel() // depth, x.new_empty((*x.shape[:-1], width))
    dhidden = torch.empty_like(out)
    mlp_backward_kernel[(blocks(rows, tile['BLOCK_M']) * blocks(width, tile['BLOCK_N']),)](
        x,
        weight1.contiguous(),
        bias1.contiguous(),
        grad.contiguous(),
        weight2.contiguous(),
        (bias1 if sample_scale is None else sample_scale).contiguous(),
        out,
        dhidden,
        rows,
        rows // max(x.shape[0], 1),
        SCALE=sample_scale is not None,
        N=width,
        K=depth,
        **tile,
    )
    return out, dhidden
