"""The block's two linear layers, each in one pass over memory together with what follows it."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.common import launch, normal_cdf, pointer, row_start


def choose_tile(dtype: torch.dtype, width: int, depth: int) -> dict[str, int | str]:
    """Tile of a matrix product with ``width`` columns and sums over ``depth`` products.

    fp32 is multiplied as fp32, without tensor cores, and has room for a small tile only. In half
    precision, of two tiles the one that computes fewer columns past the end is chosen.
    """
    if dtype == torch.float32:
        return dict(BLOCK_M=64, BLOCK_N=64, BLOCK_K=32, PRECISION='ieee', num_warps=8, num_stages=2)
    step = 64
    if depth % 64 and depth < 256:  # the last step of 64 would be half empty
        step = 32
    columns = 128
    warps = 8
    if triton.cdiv(width, 64) * 64 < triton.cdiv(width, 128) * 128:
        columns = 64
        warps = 4
    return dict(
        BLOCK_M=128,
        BLOCK_N=columns,
        BLOCK_K=step,
        PRECISION='tf32',
        num_warps=warps,
        num_stages=3,
    )


def _count_programs(n_rows: int, width: int, tile: dict) -> int:
    return triton.cdiv(n_rows, tile['BLOCK_M']) * triton.cdiv(width, tile['BLOCK_N'])


@triton.jit
def tile_of_program(N: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """First row of this program's tile, its rows counted from there, and its columns.

    Neighbouring programs share their rows of x; the weight is small and stays in the cache.
    """
    column_blocks: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    first = tl.program_id(0) // column_blocks * BLOCK_M
    columns = tl.program_id(0) % column_blocks * BLOCK_N + tl.arange(0, BLOCK_N)
    return first, tl.arange(0, BLOCK_M), columns


@triton.jit
def linear_tile(
    x_ptr,  # first row of the tile in x, (rows, K)
    weight_ptr,  # (N, K)
    bias_ptr,  # (N,)
    rows,  # (BLOCK_M,): rows of the tile; those from n_rows on are masked
    columns,  # (BLOCK_N,): rows of the weight; those from N on are masked
    n_rows,  # rows that x has from x_ptr on
    N: tl.constexpr,
    K: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,  # 'ieee' keeps fp32 products from being rounded to TF32
):
    """Compute one tile of x @ weight.T + bias: (BLOCK_M, BLOCK_N) in fp32."""
    product = tl.zeros((rows.shape[0], columns.shape[0]), tl.float32)
    for start in tl.range(0, K, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        x_mask = (rows < n_rows)[:, None]
        weight_mask = (columns < N)[None, :]
        if K % BLOCK_K != 0:  # otherwise every k is inside, and needs no test
            x_mask = x_mask & (k < K)[None, :]
            weight_mask = weight_mask & (k < K)[:, None]
        x_tile = x_ptr + rows[:, None] * K + k[None, :]
        weight_tile = weight_ptr + columns[None, :] * K + k[:, None]
        x = tl.load(x_tile, mask=x_mask, other=0.0)
        weight = tl.load(weight_tile, mask=weight_mask, other=0.0)
        product = tl.dot(x, weight, product, input_precision=PRECISION)
    bias = tl.load(bias_ptr + columns, mask=columns < N, other=0.0)
    return product + bias.to(tl.float32)[None, :]


@triton.jit(do_not_specialize=['n_rows'])
def linear_gelu_kernel(
    x_ptr,  # (n_rows, K): the input
    weight_ptr,  # (N, K)
    bias_ptr,  # (N,)
    y_ptr,  # (n_rows, N): GELU of the hidden values
    hidden_ptr,  # (n_rows, N): the hidden values, written if KEEP
    n_rows,
    KEEP: tl.constexpr,
    N: tl.constexpr,
    K: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile of gelu(x @ weight.T + bias)."""
    first, rows, columns = tile_of_program(N, BLOCK_M, BLOCK_N)
    left = n_rows - first
    x_tile = x_ptr + row_start(first, K)
    hidden = linear_tile(
        x_tile, weight_ptr, bias_ptr, rows, columns, left, N, K, BLOCK_K, PRECISION
    )

    mask = (rows < left)[:, None] & (columns < N)[None, :]
    start = row_start(first, N)
    offset = rows[:, None] * N + columns[None, :]
    if KEEP:
        tl.store(hidden_ptr + start + offset, hidden.to(hidden_ptr.dtype.element_ty), mask=mask)
    y = hidden * normal_cdf(hidden)
    tl.store(y_ptr + start + offset, y.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=['n_rows', 'rows_per_sample'])
def linear_residual_kernel(
    x_ptr,  # (n_rows, K): the input
    weight_ptr,  # (N, K)
    bias_ptr,  # (N,)
    gamma_ptr,  # (N,): layer scale, read if GAMMA
    scale_ptr,  # (n_rows / rows_per_sample,): drop path's factor of each sample, read if SCALE
    residual_ptr,  # (n_rows, N)
    y_ptr,  # (n_rows, N): the result
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
    """One tile of residual + scale * gamma * (x @ weight.T + bias)."""
    first, rows, columns = tile_of_program(N, BLOCK_M, BLOCK_N)
    left = n_rows - first
    in_rows = rows < left
    in_columns = columns < N
    x_tile = x_ptr + row_start(first, K)
    y = linear_tile(x_tile, weight_ptr, bias_ptr, rows, columns, left, N, K, BLOCK_K, PRECISION)
    if GAMMA:
        y *= tl.load(gamma_ptr + columns, mask=in_columns, other=0.0).to(tl.float32)[None, :]
    if SCALE:
        sample = (first + rows) // rows_per_sample
        y *= tl.load(scale_ptr + sample, mask=in_rows, other=0.0).to(tl.float32)[:, None]

    mask = in_rows[:, None] & in_columns[None, :]
    start = row_start(first, N)
    offset = rows[:, None] * N + columns[None, :]
    y += tl.load(residual_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
    tl.store(y_ptr + start + offset, y.to(y_ptr.dtype.element_ty), mask=mask)


def linear_gelu(
    x: Tensor, weight: Tensor, bias: Tensor, keep: bool = True
) -> tuple[Tensor, Tensor | None]:
    """First layer and GELU; see ``TorchOps.linear_gelu``.

    Differs: GELU is applied to the sum before it is rounded.
    """
    width, depth = weight.shape
    n_rows = x.numel() // depth
    tile = choose_tile(x.dtype, width, depth)
    y = x.new_empty((*x.shape[:-1], width))
    hidden = torch.empty_like(y) if keep else None
    launch(
        linear_gelu_kernel,
        _count_programs(n_rows, width, tile),
        x.contiguous(),
        weight.contiguous(),
        bias.contiguous(),
        y,
        pointer(hidden, stand_in=y),
        n_rows,
        KEEP=keep,
        N=width,
        K=depth,
        **tile,
    )
    return y, hidden


def linear_residual(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    gamma: Tensor | None,
    scale: Tensor | None,
    residual: Tensor,
) -> Tensor:
    """Second layer and residual; see ``TorchOps.linear_residual``.

    Differs: the result is rounded once, at the end.
    """
    width, depth = weight.shape
    n_rows = x.numel() // depth
    tile = choose_tile(x.dtype, width, depth)
    residual = residual.contiguous()
    y = torch.empty_like(residual)
    launch(
        linear_residual_kernel,
        _count_programs(n_rows, width, tile),
        x.contiguous(),
        weight.contiguous(),
        bias.contiguous(),
        pointer(gamma, stand_in=bias),
        pointer(scale, stand_in=bias),
        residual,
        y,
        n_rows,
        n_rows // max(x.shape[0], 1),
        GAMMA=gamma is not None,
        SCALE=scale is not None,
        N=width,
        K=depth,
        **tile,
    )
    return y
