"""LayerNorm over the last axis, forward and backward.

A program holds whole rows in registers, so that each is read once.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.common import launch, row_start

# Elements of a tile. The backward pass holds two tiles and two sums, and has room for half as many.
FORWARD_TILE = 4096
BACKWARD_TILE = 2048
# Most programs of the backward pass: several for each multiprocessor, one row of sums for each.
BACKWARD_PROGRAMS = 512
# Most channels: one row of them must fit a program's registers.
WIDEST_FORWARD = 8192
WIDEST_BACKWARD = 4096


@triton.jit(do_not_specialize=['n_rows'])
def layer_norm_kernel(
    x_ptr,  # (n_rows, C): the input
    weight_ptr,  # (C,)
    bias_ptr,  # (C,)
    y_ptr,  # (n_rows, C): the result
    mean_ptr,  # (n_rows,) fp32: written for the backward pass
    rstd_ptr,  # (n_rows,) fp32: 1 / standard deviation, written for the backward pass
    n_rows,
    eps,
    C: tl.constexpr,
    BLOCK_C: tl.constexpr,  # the next power of two; channels from C on are masked
    ROWS: tl.constexpr,
):
    """ROWS rows."""
    first = tl.program_id(0) * ROWS
    row = tl.arange(0, ROWS)
    channel = tl.arange(0, BLOCK_C)
    in_rows = first + row < n_rows
    in_channels = channel < C
    mask = in_rows[:, None] & in_channels[None, :]
    start = row_start(first, C)
    offset = row[:, None] * C + channel[None, :]

    x = tl.load(x_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
    mean = tl.sum(x, 1) / C
    # Masked channels would be -mean here, and would count in the variance.
    centered = tl.where(in_channels[None, :], x - mean[:, None], 0.0)
    rstd = tl.rsqrt(tl.sum(centered * centered, 1) / C + eps)
    weight = tl.load(weight_ptr + channel, mask=in_channels, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + channel, mask=in_channels, other=0.0).to(tl.float32)
    y = centered * rstd[:, None] * weight[None, :] + bias[None, :]
    tl.store(y_ptr + start + offset, y.to(y_ptr.dtype.element_ty), mask=mask)
    tl.store(mean_ptr + row_start(first, 1) + row, mean, mask=in_rows)
    tl.store(rstd_ptr + row_start(first, 1) + row, rstd, mask=in_rows)


@triton.jit(do_not_specialize=['n_rows', 'n_tiles'])
def layer_norm_backward_kernel(
    grad_ptr,  # (n_rows, C): gradient w.r.t. the result
    x_ptr,  # (n_rows, C): the input
    mean_ptr,  # (n_rows,) fp32
    rstd_ptr,  # (n_rows,) fp32
    weight_ptr,  # (C,)
    dx_ptr,  # (n_rows, C): gradient w.r.t. the input
    dweight_ptr,  # (programs, C) fp32: partial sums of the weight's gradient
    dbias_ptr,  # (programs, C) fp32: partial sums of the bias's gradient
    n_rows,
    n_tiles,
    C: tl.constexpr,
    BLOCK_C: tl.constexpr,  # the next power of two; channels from C on are masked
    ROWS: tl.constexpr,
):
    """n_tiles tiles of ROWS rows, one after another, and their sums."""
    program = tl.program_id(0)
    row = tl.arange(0, ROWS)
    channel = tl.arange(0, BLOCK_C)
    in_channels = channel < C
    weight = tl.load(weight_ptr + channel, mask=in_channels, other=0.0).to(tl.float32)
    dweight = tl.zeros((ROWS, BLOCK_C), tl.float32)
    dbias = tl.zeros((ROWS, BLOCK_C), tl.float32)
    for tile in tl.range(0, n_tiles):
        first = (program * n_tiles + tile) * ROWS
        in_rows = first + row < n_rows
        mask = in_rows[:, None] & in_channels[None, :]
        start = row_start(first, C)
        offset = row[:, None] * C + channel[None, :]
        grad = tl.load(grad_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
        x = tl.load(x_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
        mean = tl.load(mean_ptr + row_start(first, 1) + row, mask=in_rows, other=0.0)
        rstd = tl.load(rstd_ptr + row_start(first, 1) + row, mask=in_rows, other=0.0)

        # n is not 0 in masked channels, but it is only multiplied with grad and g, which are.
        n = (x - mean[:, None]) * rstd[:, None]
        g = grad * weight[None, :]
        mean_g = tl.sum(g, 1) / C
        mean_gn = tl.sum(g * n, 1) / C
        dx = rstd[:, None] * (g - mean_g[:, None] - n * mean_gn[:, None])
        tl.store(dx_ptr + start + offset, dx.to(dx_ptr.dtype.element_ty), mask=mask)
        dweight += grad * n
        dbias += grad
    tl.store(dweight_ptr + row_start(program, C) + channel, tl.sum(dweight, 0), mask=in_channels)
    tl.store(dbias_ptr + row_start(program, C) + channel, tl.sum(dbias, 0), mask=in_channels)


def layer_norm(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    """Normalize; see ``TorchOps.layer_norm``."""
    x = x.contiguous()
    channels = x.shape[-1]
    n_rows = x.numel() // channels
    y = torch.empty_like(x)
    mean = torch.empty((*x.shape[:-1], 1), dtype=torch.float32, device=x.device)
    rstd = torch.empty_like(mean)
    block = triton.next_power_of_2(channels)
    rows = max(FORWARD_TILE // block, 1)
    launch(
        layer_norm_kernel,
        triton.cdiv(n_rows, rows),
        x,
        weight.contiguous(),
        bias.contiguous(),
        y,
        mean,
        rstd,
        n_rows,
        eps,
        C=channels,
        BLOCK_C=block,
        ROWS=rows,
        num_warps=4,
    )
    return y, mean, rstd


def layer_norm_backward(
    grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute all three gradients; see ``TorchOps.layer_norm_backward``."""
    x = x.contiguous()
    channels = x.shape[-1]
    n_rows = x.numel() // channels
    block = triton.next_power_of_2(channels)
    rows = max(BACKWARD_TILE // block, 1)
    n_tiles = max(triton.cdiv(n_rows, rows * BACKWARD_PROGRAMS), 1)
    programs = triton.cdiv(n_rows, rows * n_tiles)
    dx = torch.empty_like(x)
    dweight = torch.empty((programs, channels), dtype=torch.float32, device=x.device)
    dbias = torch.empty_like(dweight)
    launch(
        layer_norm_backward_kernel,
        programs,
        grad.contiguous(),
        x,
        mean.contiguous(),
        rstd.contiguous(),
        weight.contiguous(),
        dx,
        dweight,
        dbias,
        n_rows,
        n_tiles,
        C=channels,
        BLOCK_C=block,
        ROWS=rows,
        num_warps=4,
    )
    return dx, dweight.sum(0), dbias.sum(0)
