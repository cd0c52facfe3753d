"""Gradients of the 7x7 depthwise convolution by weight and bias.

A program goes down some columns of the gradient. The seven taps of a row are an axis of its tiles, so for each pixel it
loads one (8, channels) window of x; the gradient's last seven rows stay in registers. That is two loads for seven
products, and x and the gradient pass once through the caches. Sums are kept for each program and added in a second
stage, without atomics: the same bits in every run.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.shared import blocks, row_start

# Aimed at: about eight for each multiprocessor of an H200. Each more is 56 sums a channel that the second stage reads.
PROGRAMS = 1024
STRIP = 28  # rows that a program goes down at most; six more rows of the gradient are loaded at its ends


@triton.jit
def _row(pointers, mask):
    return tl.load(pointers, mask=mask, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=['height', 'width', 'strips', 'strip', 'columns'])
def depthwise_weight_grad_kernel(
    grad_ptr,
    x_ptr,
    partial_ptr,
    height,
    width,
    strips,
    strip,
    columns,
    C: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Products of x's rows top .. top + strip - 1 with ``columns`` columns of the gradient, for BLOCK_C channels.

    Args:
        grad_ptr, x_ptr: (N, height, width, C).
        partial_ptr: (parts, 7, 8, C) fp32; a part is (image, column block, strip). Lane 7 of row 3 is the bias.
        strips: strips of rows in an image.
    """
    channel_blocks: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    part = tl.program_id(0) // channel_blocks
    channels = tl.program_id(0) % channel_blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    lanes = tl.arange(
        0, 8
    )  # 0 .. 6: columns of the filter; 7: x taken as 1, which sums the gradient for the bias
    in_channels = (channels < C)[None, :]
    column_blocks = (width + columns - 1) // columns
    top = part % strips * strip
    left = part // strips % column_blocks * columns
    image = part // strips // column_blocks
    bottom = tl.minimum(top + strip, height)
    corner = row_start(image * height + top, width * C)

    tap0 = tl.zeros((8, BLOCK_C), tl.float32)
    tap1 = tl.zeros((8, BLOCK_C), tl.float32)
    tap2 = tl.zeros((8, BLOCK_C), tl.float32)
    tap3 = tl.zeros((8, BLOCK_C), tl.float32)
    tap4 = tl.zeros((8, BLOCK_C), tl.float32)
    tap5 = tl.zeros((8, BLOCK_C), tl.float32)
    tap6 = tl.zeros((8, BLOCK_C), tl.float32)
    for column in tl.range(left, tl.minimum(left + columns, width)):
        x_column = column + lanes - 3
        in_map = ((x_column >= 0) & (x_column < width) & (lanes < 7))[:, None] & in_channels
        x_at = x_ptr + corner + x_column[:, None] * C + channels[None, :]
        # The same pixel in each lane, spread before it is loaded: values would have to go from thread to thread.
        grad_at = grad_ptr + corner + (column * C + 0 * lanes[:, None] + channels[None, :])
        grad1 = _row(grad_at - 3 * width * C, in_channels & (top >= 3))
        grad2 = _row(grad_at - 2 * width * C, in_channels & (top >= 2))
        grad3 = _row(grad_at - width * C, in_channels & (top >= 1))
        grad4 = _row(grad_at, in_channels)
        grad5 = _row(grad_at + width * C, in_channels & (top + 1 < height))
        grad6 = _row(grad_at + 2 * width * C, in_channels & (top + 2 < height))
        grad_at += 3 * width * C
        for first in tl.range(top, bottom, 7):
            for step in tl.static_range(
                7
            ):  # after seven the names have gone round: no value is moved
                line = first + step
                grad0 = grad1
                grad1 = grad2
                grad2 = grad3
                grad3 = grad4
                grad4 = grad5
                grad5 = grad6
                grad6 = _row(grad_at, in_channels & (line + 3 < height))
                x = _row(x_at, in_map & (line < bottom))
                x += tl.where((lanes == 7)[:, None] & (line < bottom), 1.0, 0.0)
                tap0 += x * grad6  # row i of the filter takes x's row ``line`` to row line + 3 - i
                tap1 += x * grad5
                tap2 += x * grad4
                tap3 += x * grad3
                tap4 += x * grad2
                tap5 += x * grad1
                tap6 += x * grad0
                grad_at += width * C
                x_at += width * C
    out = partial_ptr + row_start(part, 56 * C) + lanes[:, None] * C + channels[None, :]
    tl.store(out, tap0, mask=in_channels)
    tl.store(out + 8 * C, tap1, mask=in_channels)
    tl.store(out + 16 * C, tap2, mask=in_channels)
    tl.store(out + 24 * C, tap3, mask=in_channels)
    tl.store(out + 32 * C, tap4, mask=in_channels)
    tl.store(out + 40 * C, tap5, mask=in_channels)
    tl.store(out + 48 * C, tap6, mask=in_channels)


def depthwise_weight_grad(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """See :func:`convnext_dense.ops.reference.depthwise_weight_grad`."""
    grad, x = grad.contiguous(), x.contiguous()
    images, height, width, channels = x.shape
    block = 64 if channels % 64 == 0 or channels > 512 else 32
    strip = height if height <= 35 else STRIP
    strips = blocks(height, strip)
    columns = max(images * strips * width * blocks(channels, block) // PROGRAMS, 1)
    parts = images * strips * blocks(width, columns)
    partial = torch.empty((parts, 7, 8, channels), dtype=torch.float32, device=x.device)
    depthwise_weight_grad_kernel[(parts * blocks(channels, block),)](
        grad,
        x,
        partial,
        height,
        width,
        strips,
        strip,
        columns,
        C=channels,
        BLOCK_C=block,
        num_warps=block // 32,
    )
    total = partial.sum(0)
    return total[:, :7].permute(2, 0, 1).contiguous().unsqueeze(1), total[3, 7].clone()
