"""Global Response Normalization, forward and backward.

Its norm is taken over a whole map, so that nothing can be written before everything was read: one
kernel sums, one applies. Torch computes with the (N, C) numbers in between. Sums are in fp32, first
over slabs of rows and then over the slabs, without atomics: values that overflow fp16 stay finite,
and every run gives the same bits.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.common import launch, row_start

BLOCK_C = 64  # 128 bytes of a row in half precision; divides the widths of most networks
SUM_ROWS = 32  # rows of a tile
APPLY_ROWS = 64
PROGRAMS = 2048  # number of programs that the sums aim at


@triton.jit(do_not_specialize=['n_rows', 'slabs', 'tiles'])
def response_sums_kernel(
    x_ptr,  # (N, n_rows, C): the input
    grad_ptr,  # (N, n_rows, C): gradient w.r.t. the result, read if BACKWARD
    partial_ptr,  # (N, slabs, 1 or 3, C) fp32: the sums of each slab
    n_rows,
    slabs,  # slabs of a sample
    tiles,  # tiles of a slab
    BACKWARD: tl.constexpr,
    C: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Sums over one slab of one sample: x * x, and if BACKWARD also grad * x and grad."""
    SUMS: tl.constexpr = 3 if BACKWARD else 1
    channel_blocks: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    channels = tl.program_id(0) % channel_blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    in_channels = channels < C
    part = tl.program_id(0) // channel_blocks
    sample = part // slabs
    top = part % slabs * tiles * ROWS
    rows = tl.arange(0, ROWS)
    squares = tl.zeros((ROWS, BLOCK_C), tl.float32)
    products = tl.zeros((ROWS, BLOCK_C), tl.float32)
    grads = tl.zeros((ROWS, BLOCK_C), tl.float32)
    for tile in tl.range(0, tiles):
        # Rows past the sample's end and channels from C on are 0, and add nothing.
        first = top + tile * ROWS
        mask = (first + rows < n_rows)[:, None] & in_channels[None, :]
        start = row_start(sample, n_rows) * C + row_start(first, C)
        offset = rows[:, None] * C + channels[None, :]
        x = tl.load(x_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
        squares += x * x
        if BACKWARD:
            grad = tl.load(grad_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
            products += grad * x
            grads += grad
    out = partial_ptr + row_start(part, SUMS * C) + channels
    tl.store(out, tl.sum(squares, 0), mask=in_channels)
    if BACKWARD:
        tl.store(out + C, tl.sum(products, 0), mask=in_channels)
        tl.store(out + 2 * C, tl.sum(grads, 0), mask=in_channels)


@triton.jit(do_not_specialize=['n_rows'])
def response_apply_kernel(
    x_ptr,  # (N, n_rows, C): the input
    grad_ptr,  # (N, n_rows, C): gradient w.r.t. the result, read if BACKWARD
    scale_ptr,  # (N, C) fp32
    shift_ptr,  # beta (C,), or if BACKWARD x_scale (N, C) fp32
    out_ptr,  # (N, n_rows, C): the result
    n_rows,
    BACKWARD: tl.constexpr,
    C: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ROWS: tl.constexpr,
):
    """ROWS rows of one sample: x * scale + beta, or if BACKWARD grad * scale + x * x_scale."""
    channel_blocks: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    channels = tl.program_id(0) % channel_blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    in_channels = channels < C
    row_blocks = (n_rows + ROWS - 1) // ROWS
    sample = tl.program_id(0) // channel_blocks // row_blocks
    first = tl.program_id(0) // channel_blocks % row_blocks * ROWS
    rows = tl.arange(0, ROWS)
    mask = (first + rows < n_rows)[:, None] & in_channels[None, :]
    start = row_start(sample, n_rows) * C + row_start(first, C)
    offset = rows[:, None] * C + channels[None, :]
    of_sample = row_start(sample, C)

    scale = tl.load(scale_ptr + of_sample + channels, mask=in_channels, other=0.0)[None, :]
    x = tl.load(x_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
    if BACKWARD:
        grad = tl.load(grad_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
        x_scale = tl.load(shift_ptr + of_sample + channels, mask=in_channels, other=0.0)
        out = grad * scale + x * x_scale[None, :]
    else:
        beta = tl.load(shift_ptr + channels, mask=in_channels, other=0.0).to(tl.float32)
        out = x * scale + beta[None, :]
    tl.store(out_ptr + start + offset, out.to(out_ptr.dtype.element_ty), mask=mask)


def _sum(x: Tensor, grad: Tensor | None) -> Tensor:
    """Sums over a map of x * x, and with ``grad`` of grad * x and grad: (N, 1 or 3, C)."""
    samples, height, width, channels = x.shape
    n_rows = height * width
    channel_blocks = triton.cdiv(channels, BLOCK_C)
    most_slabs = max(PROGRAMS // max(samples * channel_blocks, 1), 1)
    tiles = max(triton.cdiv(n_rows, most_slabs * SUM_ROWS), 1)
    slabs = triton.cdiv(n_rows, tiles * SUM_ROWS)
    sums = 1 if grad is None else 3
    partial = torch.empty((samples, slabs, sums, channels), dtype=torch.float32, device=x.device)
    launch(
        response_sums_kernel,
        samples * slabs * channel_blocks,
        x,
        x if grad is None else grad,
        partial,
        n_rows,
        slabs,
        tiles,
        BACKWARD=grad is not None,
        C=channels,
        BLOCK_C=BLOCK_C,
        ROWS=SUM_ROWS,
        num_warps=4,
    )
    return partial.sum(1)


def _apply(x: Tensor, grad: Tensor | None, scale: Tensor, shift: Tensor) -> Tensor:
    samples, height, width, channels = x.shape
    n_rows = height * width
    out = torch.empty_like(x)
    launch(
        response_apply_kernel,
        samples * triton.cdiv(n_rows, APPLY_ROWS) * triton.cdiv(channels, BLOCK_C),
        x,
        x if grad is None else grad,
        scale.contiguous(),
        shift.contiguous(),
        out,
        n_rows,
        BACKWARD=grad is not None,
        C=channels,
        BLOCK_C=BLOCK_C,
        ROWS=APPLY_ROWS,
        num_warps=4,
    )
    return out


def global_response_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-6) -> Tensor:
    """Normalize; see ``TorchOps.global_response_norm``."""
    x = x.contiguous()
    norm = _sum(x, None)[:, 0].sqrt()  # (N, C)
    response = norm / (norm.mean(-1, keepdim=True) + eps)
    return _apply(x, None, 1 + gamma.float() * response, beta)


def global_response_norm_backward(
    grad: Tensor, x: Tensor, gamma: Tensor, eps: float = 1e-6
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute all three gradients; see ``TorchOps.global_response_norm_backward``."""
    grad = grad.contiguous()
    x = x.contiguous()
    gamma = gamma.float()
    squares, products, grads = _sum(x, grad).unbind(1)  # (N, C) each
    norm = squares.sqrt()
    mean = norm.mean(-1, keepdim=True) + eps
    response = norm / mean
    mean_term = (gamma * products * norm).mean(-1, keepdim=True) / mean**2
    norm_grad = gamma * products / mean - mean_term
    x_scale = torch.where(norm > 0, norm_grad / norm, 0.0)  # where the norm is 0, x is too
    dx = _apply(x, grad, 1 + gamma * response, x_scale)
    return dx, (response * products).sum(0), grads.sum(0)
