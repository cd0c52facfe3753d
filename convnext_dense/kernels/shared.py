"""Pieces that several kernels share."""

import triton
import triton.language as tl


def blocks(size: int, block: int) -> int:
    """How many blocks cover ``size``."""
    return -(-size // block)


@triton.jit
def row_start(row, width):
    """Offset of a row's first element, in 64 bits: activations may pass 2^31 elements.

    What is added to it inside of a tile stays in 32 bits, which are fewer registers; ``dispatch`` holds the limits.
    """
    return row.to(tl.int64) * width


@triton.jit
def normal_below(x):
    """Normal distribution function of fp32 ``x``: gelu(x) = x * normal_below(x)."""
    return 0.5 + 0.5 * tl.erf(x * 0.7071067811865476)


@triton.jit
def gelu_slope(x, below):
    """Derivative of the exact GELU; ``below`` is ``normal_below(x)``."""
    return below + x * tl.exp(-0.5 * x * x) * 0.3989422804014327


@triton.jit
def add_products(
    acc,
    x_ptr,
    weight_ptr,
    rows,
    columns,
    M,
    N: tl.constexpr,
    K: tl.constexpr,
    weight_row: tl.constexpr,
    weight_k: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """acc + x @ w.T for one tile of a matrix product.

    Args:
        acc: (BLOCK_M, BLOCK_N) fp32.
        x_ptr: first row of the tile in x, (rows, K) contiguous.
        weight_ptr: w; element (n, k) lies at n * weight_row + k * weight_k.
        rows: (BLOCK_M,), row numbers inside of the tile; those >= M are past the end of x and masked.
        columns: (BLOCK_N,), row numbers of w; those >= N are masked.
        M: rows that x has from x_ptr on.
        PRECISION: 'ieee' keeps fp32 products from being rounded to TF32.
    """
    for start in tl.range(0, K, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        x_mask = (rows < M)[:, None]
        weight_mask = (columns < N)[None, :]
        if K % BLOCK_K != 0:  # else every k is inside, and the compiler need not test it
            x_mask = x_mask & (k < K)[None, :]
            weight_mask = weight_mask & (k < K)[:, None]
        x = tl.load(x_ptr + rows[:, None] * K + k[None, :], mask=x_mask, other=0.0)
        weight = tl.load(
            weight_ptr + columns[None, :] * weight_row + k[:, None] * weight_k,
            mask=weight_mask,
            other=0.0,
        )
        acc = tl.dot(x, weight, acc, input_precision=PRECISION)
    return acc
