"""LayerNorm over the last axis, forward and backward. A program holds whole rows in registers: each is read once."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.shared import blocks, row_start

# Elements of a tile, 4 warps: the backward pass holds two tiles and two sums at a time.
FORWARD_TILE, BACKWARD_TILE = 4096, 2048
# Programs of the backward pass, which loop: one row of partial sums each, several programs for a multiprocessor.
BACKWARD_PROGRAMS = 512


@triton.jit(do_not_specialize=['n_rows'])
def layer_norm_kernel(
    x_ptr,
    weight_ptr,
    bias_ptr,
    out_ptr,
    mean_ptr,
    rstd_ptr,
    n_rows,
    eps,
    C: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ROWS: tl.constexpr,
):
    """ROWS rows.

    Args:
        x_ptr, out_ptr: (n_rows, C).
        weight_ptr, bias_ptr: (C,).
        mean_ptr, rstd_ptr: (n_rows,) fp32.
        BLOCK_C: the power of two from C on; channels past C are masked.
    """
    first = tl.program_id(0) * ROWS
    row, channel = tl.arange(0, ROWS), tl.arange(0, BLOCK_C)
    in_rows, in_channels = first + row < n_rows, channel < C
    mask = in_rows[:, None] & in_channels[None, :]
    start, offset = row_start(first, C), row[:, None] * C + channel[None, :]
    x = tl.load(x_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(x, 1) / C
    centered = tl.where(
        in_channels[None, :], x - mean[:, None], 0.0
    )  # past C it would be -mean, and count
    rstd = tl.rsqrt(tl.sum(centered * centered, 1) / C + eps)
    weight = tl.load(weight_ptr + channel, mask=in_channels, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + channel, mask=in_channels, other=0.0).to(tl.float32)
    y = centered * rstd[:, None] * weight[None, :] + bias[None, :]
    tl.store(out_ptr + start + offset, y.to(out_ptr.dtype.element_ty), mask=mask)
    tl.store(mean_ptr + row_start(first, 1) + row, mean, mask=in_rows)
    tl.store(rstd_ptr + row_start(first, 1) + row, rstd, mask=in_rows)


@triton.jit(do_not_specialize=['n_rows', 'n_tiles'])
def layer_norm_backward_kernel(
    grad_ptr,
    x_ptr,
    mean_ptr,
    rstd_ptr,
    weight_ptr,
    dx_ptr,
    dweight_ptr,
    dbias_ptr,
    n_rows,
    n_tiles,
    C: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ROWS: tl.constexpr,
):
    """n_tiles tiles of ROWS rows, one after the other, and their share of the parameters' gradients.

    Args:
        grad_ptr, x_ptr, dx_ptr: (n_rows, C).
        mean_ptr, rstd_ptr: (n_rows,) fp32.
        weight_ptr: (C,).
        dweight_ptr, dbias_ptr: (programs, C) fp32, partial sums.
    """
    program = tl.program_id(0)
    row, channel = tl.arange(0, ROWS), tl.arange(0, BLOCK_C)
    in_channels = channel < C
    weight = tl.load(weight_ptr + channel, mask=in_channels, other=0.0).to(tl.float32)
    dweight = tl.zeros((ROWS, BLOCK_C), tl.float32)
    dbias = tl.zeros((ROWS, BLOCK_C), tl.float32)
    for tile in tl.range(0, n_tiles):
        first = (program * n_tiles + tile) * ROWS
        in_rows = first + row < n_rows
        mask = in_rows[:, None] & in_channels[None, :]
        start, offset = row_start(first, C), row[:, None] * C + channel[None, :]
        grad = tl.load(grad_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
        x = tl.load(x_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
        mean = tl.load(mean_ptr + row_start(first, 1) + row, mask=in_rows, other=0.0)
        rstd = tl.load(rstd_ptr + row_start(first, 1) + row, mask=in_rows, other=0.0)
        n = (x - mean[:, None]) * rstd[:, None]  # past C not 0, but grad and weight are
        g = grad * weight[None, :]
        dx = rstd[:, None] * (g - (tl.sum(g, 1) / C)[:, None] - n * (tl.sum(g * n, 1) / C)[:, None])
        tl.store(dx_ptr + start + offset, dx.to(dx_ptr.dtype.element_ty), mask=mask)
        dweight += grad * n
        dbias += grad
    tl.store(dweight_ptr + row_start(program, C) + channel, tl.sum(dweight, 0), mask=in_channels)
    tl.store(dbias_ptr + row_start(program, C) + channel, tl.sum(dbias, 0), mask=in_channels)


def layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`convnext_dense.ops.reference.layer_norm`."""
    x, channels = x.contiguous(), x.shape[-1]
    rows = x.numel() // channels
    out, mean = torch.empty_like(x), torch.empty(x.shape[:-1], dtype=torch.float32, device=x.device)
    rstd, block = torch.empty_like(mean), triton.next_power_of_2(channels)
    tile_rows = max(FORWARD_TILE // block, 1)
    layer_norm_kernel[(blocks(rows, tile_rows),)](
        x,
        weight.contiguous(),
        bias.contiguous(),
        out,
        mean,
        rstd,
        rows,
        eps,
        C=channels,
        BLOCK_C=block,
        ROWS=tile_rows,
        num_warps=4,
    )
    return out, mean, rstd


def layer_norm_backward(
    grad: Tensor,
    x: Tensor,
    mean: Tensor,
    rstd: Tensor,
    weight: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`convnext_dense.ops.reference.layer_norm_backward`."""
    grad, x, channels = grad.contiguous(), x.contiguous(), x.shape[-1]
    rows, block, dx = x.numel() // channels, triton.next_power_of_2(channels), torch.empty_like(x)
    tile_rows = max(BACKWARD_TILE // block, 1)
    n_tiles = max(blocks(rows, tile_rows * BACKWARD_PROGRAMS), 1)
    programs = blocks(rows, tile_rows * n_tiles)
    dweight, dbias = torch.empty((2, programs, channels), dtype=torch.float32, device=x.device)
    layer_norm_backward_kernel[(programs,)](
        grad,
        x,
        mean.contiguous(),
        rstd.contiguous(),
        weight.contiguous(),
        dx,
        dweight,
        dbias,
        rows,
        n_tiles,
        C=channels,
        BLOCK_C=block,
        ROWS=tile_rows,
        num_warps=4,
    )
    return dx, dweight.sum(0), dbias.sum(0)
