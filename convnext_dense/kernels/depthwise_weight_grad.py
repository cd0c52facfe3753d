"""Gradients of the 7x7 depthwise convolution w.r.t. its weight and bias.

A program goes down some columns of the gradient. The seven taps of a filter's row are an axis of
its tiles: for each pixel it loads one (8, channels) window of x, and the last seven rows of the
gradient stay in registers. That is two loads for seven products, and both maps are read once. Each
program writes its sums, and torch adds them: without atomics, every run gives the same bits.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.common import launch, row_start

# Number of programs to aim at: about eight for each multiprocessor of an H200. A further program
# costs 56 sums for each channel that torch must add.
PROGRAMS = 1024
STRIP = 28  # most rows of a program; each strip loads six more rows of the gradient at its ends


@triton.jit
def _load(pointers, mask):
    return tl.load(pointers, mask=mask, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=['height', 'width', 'strips', 'strip', 'columns'])
def depthwise_weight_grad_kernel(
    grad_ptr,  # (N, height, width, C): gradient w.r.t. the output
    x_ptr,  # (N, height, width, C): the input
    partial_ptr,  # (parts, 7, 8, C) fp32: sums of a part, which is (image, column block, strip)
    height,
    width,
    strips,  # strips of an image
    strip,  # rows of a strip
    columns,  # columns of a part
    C: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Sums over rows top ... top + strip - 1 of x and some columns, for BLOCK_C channels."""
    channel_blocks: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    part = tl.program_id(0) // channel_blocks
    channels = tl.program_id(0) % channel_blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    in_channels = (channels < C)[None, :]
    column_blocks = (width + columns - 1) // columns
    top = part % strips * strip
    left = part // strips % column_blocks * columns
    image = part // strips // column_blocks
    bottom = tl.minimum(top + strip, height)
    corner = row_start(image * height + top, width * C)
    # Lanes 0 ... 6 are the filter's columns. In lane 7 x counts as 1: it sums the bias's gradient.
    lanes = tl.arange(0, 8)

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
        # Every lane loads the same pixel of the gradient: faster than to exchange it.
        grad_at = grad_ptr + corner + (column * C + 0 * lanes[:, None] + channels[None, :])
        grad1 = _load(grad_at - 3 * width * C, in_channels & (top >= 3))
        grad2 = _load(grad_at - 2 * width * C, in_channels & (top >= 2))
        grad3 = _load(grad_at - width * C, in_channels & (top >= 1))
        grad4 = _load(grad_at, in_channels)
        grad5 = _load(grad_at + width * C, in_channels & (top + 1 < height))
        grad6 = _load(grad_at + 2 * width * C, in_channels & (top + 2 < height))
        grad_at += 3 * width * C
        for first in tl.range(top, bottom, 7):
            # After seven steps every name is back in its register, so that no value is moved.
            for step in tl.static_range(7):
                line = first + step
                grad0 = grad1
                grad1 = grad2
                grad2 = grad3
                grad3 = grad4
                grad4 = grad5
                grad5 = grad6
                grad6 = _load(grad_at, in_channels & (line + 3 < height))
                x = _load(x_at, in_map & (line < bottom))
                x += tl.where((lanes == 7)[:, None] & (line < bottom), 1.0, 0.0)
                # Row i of the filter connects row ``line`` of x with row line + 3 - i.
                tap0 += x * grad6
                tap1 += x * grad5
                tap2 += x * grad4
                tap3 += x * grad3
                tap4 += x * grad2
                tap5 += x * grad1
                tap6 += x * grad0
                grad_at += width * C
                x_at += width * C

    out = partial_ptr + row_start(part, 56 * C) + lanes[:, None] * C + channels[None, :]
    taps = (tap0, tap1, tap2, tap3, tap4, tap5, tap6)
    for i in tl.static_range(7):
        tl.store(out + i * 8 * C, taps[i], mask=in_channels)


def depthwise_weight_grad(grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Correlate the gradient with the input; see ``TorchOps.depthwise_weight_grad``."""
    images, height, width, channels = x.shape
    block = 64 if channels % 64 == 0 or channels > 512 else 32
    channel_blocks = triton.cdiv(channels, block)
    strip = height if height <= 35 else STRIP
    strips = triton.cdiv(height, strip)
    columns = max(images * strips * width * channel_blocks // PROGRAMS, 1)
    parts = images * strips * triton.cdiv(width, columns)
    partial = torch.empty((parts, 7, 8, channels), dtype=torch.float32, device=x.device)
    launch(
        depthwise_weight_grad_kernel,
        parts * channel_blocks,
        grad.contiguous(),
        x.contiguous(),
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
    total = partial.sum(0)  # (7, 8, C)
    weight_grad = total[:, :7].permute(2, 0, 1).contiguous().unsqueeze(1)  # (C, 1, 7, 7)
    bias_grad = total[3, 7].clone()  # x's row meets the same row of the gradient in row 3
    return weight_grad, bias_grad
