"""Global Response Normalization, forward and backward.

Its norm is taken over a whole map, so nothing can be written before all has been read: one kernel sums, one applies.
In between stand (N, C) numbers, and torch. Sums are in fp32, for each slab of rows and then over the slabs, without
atomics: what overflows fp16 stays finite, and every run gives the same bits.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.shared import blocks, row_start

BLOCK_C = 64  # 128 bytes of a row in 16 bits; divides the widths of most networks
SUM_ROWS, APPLY_ROWS = 32, 64  # rows of a tile, 4 warps
PROGRAMS = 2048  # of the sums, aimed at


@triton.jit(do_not_specialize=['n_rows', 'slabs', 'tiles'])
def response_sums_kernel(
    x_ptr,
    grad_ptr,
    partial_ptr,
    n_rows,
    slabs,
    tiles,
    BACKWARD: tl.constexpr,
    C: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Sums over one slab of rows of one sample: x * x; if BACKWARD also grad * x and grad.

    Args:
        x_ptr, grad_ptr: (N, n_rows, C). Rows past n_rows and channels past C are masked: 0, they add nothing.
        partial_ptr: (N, slabs, 1 or 3, C) fp32.
        tiles: tiles of ROWS rows in a slab.
    """
    SUMS: tl.constexpr = 3 if BACKWARD else 1
    channel_blocks: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    channels = tl.program_id(0) % channel_blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    part = tl.program_id(0) // channel_blocks
    sample, top, in_channels = part // slabs, part % slabs * tiles * ROWS, channels < C
    squares = tl.zeros((ROWS, BLOCK_C), tl.float32)
    products = tl.zeros((ROWS, BLOCK_C), tl.float32)
    grads = tl.zeros((ROWS, BLOCK_C), tl.float32)
    for tile in tl.range(0, tiles):
        first, rows = top + tile * ROWS, tl.arange(0, ROWS)
        mask = (first + rows < n_rows)[:, None] & in_channels[None, :]
        start, offset = (
            row_start(sample, n_rows) * C + row_start(first, C),
            rows[:, None] * C + channels[None, :],
        )
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
    x_ptr,
    grad_ptr,
    scale_ptr,
    other_ptr,
    out_ptr,
    n_rows,
    BACKWARD: tl.constexpr,
    C: tl.constexpr,
    BLOCK_C: tl.constexpr,
    ROWS: tl.constexpr,
):
    """ROWS rows of one sample: x * scale + beta, or if BACKWARD grad * scale + x * q.

    Args:
        x_ptr, grad_ptr, out_ptr: (N, n_rows, C). Rows past n_rows and channels past C are masked.
        scale_ptr: (N, C) fp32.
        other_ptr: beta (C,), or q (N, C) fp32.
    """
    channel_blocks: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    channels = tl.program_id(0) % channel_blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    row_blocks = (n_rows + ROWS - 1) // ROWS
    sample = tl.program_id(0) // channel_blocks // row_blocks
    first = tl.program_id(0) // channel_blocks % row_blocks * ROWS
    rows, in_channels = tl.arange(0, ROWS), channels < C
    mask = (first + rows < n_rows)[:, None] & in_channels[None, :]
    start, offset = (
        row_start(sample, n_rows) * C + row_start(first, C),
        rows[:, None] * C + channels[None, :],
    )
    scale = tl.load(scale_ptr + row_start(sample, C) + channels, mask=in_channels, other=0.0)[
        None, :
    ]
    x = tl.load(x_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
    if BACKWARD:
        grad = tl.load(grad_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
        q = tl.load(other_ptr + row_start(sample, C) + channels, mask=in_channels, other=0.0)
        out = grad * scale + x * q[None, :]
    else:
        out = (
            x * scale
            + tl.load(other_ptr + channels, mask=in_channels, other=0.0).to(tl.float32)[None, :]
        )
    tl.store(out_ptr + start + offset, out.to(out_ptr.dtype.element_ty), mask=mask)


def _sums(x: Tensor, grad: Tensor | None) -> Tensor:
    """(N, 1 or 3, C): of x * x, and with ``grad`` of grad * x and grad."""
    (samples, height, width, channels), rows = x.shape, x.shape[1] * x.shape[2]
    wanted = max(PROGRAMS // max(samples * blocks(channels, BLOCK_C), 1), 1)  # slabs
    tiles = max(blocks(rows, wanted * SUM_ROWS), 1)
    slabs, sums = blocks(rows, tiles * SUM_ROWS), 1 if grad is None else 3
    partial = torch.empty((samples, slabs, sums, channels), dtype=torch.float32, device=x.device)
    response_sums_kernel[(samples * slabs * blocks(channels, BLOCK_C),)](
        x,
        x if grad is None else grad,
        partial,
        rows,
        slabs,
        tiles,
        BACKWARD=grad is not None,
        C=channels,
        BLOCK_C=BLOCK_C,
        ROWS=SUM_ROWS,
        num_warps=4,
    )
    return partial.sum(1)


def _apply(x: Tensor, grad: Tensor | None, scale: Tensor, other: Tensor) -> Tensor:
    (samples, height, width, channels), out = x.shape, torch.empty_like(x)
    response_apply_kernel[
        (samples * blocks(height * width, APPLY_ROWS) * blocks(channels, BLOCK_C),)
    ](
        x,
        x if grad is None else grad,
        scale.contiguous(),
        other.contiguous(),
        out,
        height * width,
        BACKWARD=grad is not None,
        C=channels,
        BLOCK_C=BLOCK_C,
        ROWS=APPLY_ROWS,
        num_warps=4,
    )
    return out


def global_response_norm(x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-6) -> Tensor:
    """See :func:`convnext_dense.ops.reference.global_response_norm`."""
    x = x.contiguous()
    norm = _sums(x, None)[:, 0].sqrt()
    response = norm / (norm.mean(-1, keepdim=True) + eps)
    return _apply(x, None, 1 + gamma.float() * response, beta)


def global_response_norm_backward(
    grad: Tensor,
    x: Tensor,
    gamma: Tensor,
    eps: float = 1e-6,
) -> tuple[Tensor, Tensor, Tensor]:
    """See :func:`convnext_dense.ops.reference.global_response_norm_backward`, its names too."""
    grad, x, gamma = grad.contiguous(), x.contiguous(), gamma.float()
    squares, t, grads = _sums(x, grad).unbind(1)
    norm = squares.sqrt()
    mean = norm.mean(-1, keepdim=True) + eps
    response = norm / mean
    by_norm = gamma * t / mean - (gamma * t * norm).mean(-1, keepdim=True) / mean**2
    q = torch.where(norm > 0, by_norm / norm, 0.0)
    return _apply(x, grad, 1 + gamma * response, q), (response * t).sum(0), grads.sum(0)
