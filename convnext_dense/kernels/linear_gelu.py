"""Matrix product, bias and exact GELU: the activation costs no pass over memory."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.shared import add_products, blocks, normal_below, row_start


def product_tile(dtype: torch.dtype, width: int, depth: int) -> dict[str, int | str]:
    """Tile of a matrix product of ``depth`` products with ``width`` columns: of two sizes the one that wastes less.

    fp32 is multiplied as fp32, on the plain pipe, and has room for a small tile only.
    """
    if dtype == torch.float32:
        return dict(BLOCK_M=64, BLOCK_N=64, BLOCK_K=32, PRECISION='ieee', num_warps=8, num_stages=2)
    narrow = blocks(width, 64) * 64 < blocks(width, 128) * 128
    return dict(
        BLOCK_M=128,
        BLOCK_N=64 if narrow else 128,
        BLOCK_K=step_of(depth),
        PRECISION='tf32',
        num_warps=4 if narrow else 8,
        num_stages=3,
    )


def step_of(depth: int) -> int:
    """Products of a step: half as many where the last step would be half empty."""
    return 32 if depth % 64 and depth < 256 else 64


@triton.jit(do_not_specialize=['n_rows'])
def linear_gelu_kernel(
    x_ptr,
    weight_ptr,
    bias_ptr,
    out_ptr,
    hidden_ptr,
    n_rows,
    KEEP: tl.constexpr,
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
        out_ptr: (n_rows, N).
        hidden_ptr: (n_rows, N), what GELU is taken of, written if KEEP.
    """
    column_blocks: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    first = tl.program_id(0) // column_blocks * BLOCK_M
    rows, columns = (
        tl.arange(0, BLOCK_M),
        tl.program_id(0) % column_blocks * BLOCK_N + tl.arange(0, BLOCK_N),
    )
    hidden = add_products(
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
    hidden += tl.load(bias_ptr + columns, mask=columns < N, other=0.0).to(tl.float32)[None, :]
    mask = (rows < n_rows - first)[:, None] & (columns < N)[
        None, :
    ]  # rows past the end, columns past the width
    start, offset = row_start(first, N), rows[:, None] * N + columns[None, :]
    if KEEP:
        tl.store(hidden_ptr + start + offset, hidden.to(hidden_ptr.dtype.element_ty), mask=mask)
    out = hidden * normal_below(hidden)
    tl.store(out_ptr + start + offset, out.to(out_ptr.dtype.element_ty), mask=mask)


def linear_gelu(
    x: Tensor, weight: Tensor, bias: Tensor, keep: bool = True
) -> tuple[Tensor, Tensor]:
    """See :func:`convnext_dense.ops.reference.linear_gelu`. GELU is taken of the sum before it is rounded."""
    x, (width, depth) = x.contiguous(), weight.shape
    tile = product_tile(x.dtype, width, depth)
    out = x.new_empty((*x.shape[:-1], width))
    hidden, rows = torch.empty_like(out) if keep else x.new_empty(0), x.numel() // depth
    linear_gelu_kernel[(blocks(rows, tile['BLOCK_M']) * blocks(width, tile['BLOCK_N']),)](
        x,
        weight.contiguous(),
        bias.contiguous(),
        out,
        hidden if keep else out,
        rows,
        KEEP=keep,
        N=width,
        K=depth,
        **tile,
    )
    return out, hidden
