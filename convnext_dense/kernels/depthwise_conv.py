"""7x7 depthwise convolution of N H W C maps, forward, and backward by the input.

It has 98 operations for 4 bytes in bf16, more than a GPU's fp32 pipe can do in the time that they take to move. So a
program makes four rows of the result at once: each value that it loads serves up to four of them.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.shared import blocks, row_start

ROWS = 4  # as many as the kernels name accumulators


def tile_of(channels: int) -> dict[str, int]:
    """Pixels and channels of a program's tile: 8 values a thread and row, few channels past the end."""
    wide = channels % 64 == 0 or channels > 512
    return (
        dict(BLOCK_W=16, BLOCK_C=64, num_warps=4)
        if wide
        else dict(BLOCK_W=32, BLOCK_C=32, num_warps=4)
    )


@triton.jit
def _add_tap(
    acc, x, taps, channels, i: tl.constexpr, j: tl.constexpr, C: tl.constexpr, FLIP: tl.constexpr
):
    """acc + x * tap (i, j), or acc where the filter has no row i."""
    if (i >= 0) and (i < 7):
        tap: tl.constexpr = 48 - (i * 7 + j) if FLIP else i * 7 + j
        acc += x * tl.load(taps + tap * C, mask=(channels < C)[None, :], other=0.0).to(tl.float32)
    return acc


@triton.jit
def four_rows(
    x_ptr,
    weight_ptr,
    image,
    top,
    columns,
    channels,
    height,
    width,
    C: tl.constexpr,
    FLIP: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Rows top .. top + 3 of the convolution, each (BLOCK_W, BLOCK_C) fp32.

    Args:
        x_ptr: (N, height, width, C). Rows and columns outside of the map, and channels past C, are masked: they are 0.
        weight_ptr: (49, C), taps row by row.
        image: which of N.
        columns: (BLOCK_W,), of the map.
        channels: (BLOCK_C,).
        FLIP: take the taps in reverse order, for the gradient.
    """
    row0 = tl.zeros((BLOCK_W, BLOCK_C), tl.float32)
    row1 = tl.zeros((BLOCK_W, BLOCK_C), tl.float32)
    row2 = tl.zeros((BLOCK_W, BLOCK_C), tl.float32)
    row3 = tl.zeros((BLOCK_W, BLOCK_C), tl.float32)
    # Of the tile's shape, so that each thread loads its own channels' taps and none are exchanged.
    taps = weight_ptr + channels[None, :] + 0 * columns[:, None]
    for j in tl.static_range(7):
        column = columns + (j - 3)
        inside = ((column >= 0) & (column < width))[:, None] & (channels < C)[None, :]
        offset = column[:, None] * C + channels[None, :]
        for i in tl.static_range(10):
            line = top + (i - 3)
            in_map = (line >= 0) & (line < height)
            x = tl.load(
                x_ptr + row_start(image * height + line, width * C) + offset,
                mask=inside & in_map,
                other=0.0,
            )
            x = x.to(tl.float32)
            row0 = _add_tap(row0, x, taps, channels, i, j, C, FLIP)
            row1 = _add_tap(row1, x, taps, channels, i - 1, j, C, FLIP)
            row2 = _add_tap(row2, x, taps, channels, i - 2, j, C, FLIP)
            row3 = _add_tap(row3, x, taps, channels, i - 3, j, C, FLIP)
    return row0, row1, row2, row3


@triton.jit
def _store_row(
    y_ptr,
    residual_ptr,
    value,
    image,
    line,
    columns,
    channels,
    height,
    width,
    C: tl.constexpr,
    RESIDUAL: tl.constexpr,
):
    """Row ``line`` of an image, if it has one; columns past its width and channels past C are masked."""
    start = row_start(image * height + line, width * C)
    offset = columns[:, None] * C + channels[None, :]
    mask = (columns < width)[:, None] & (channels < C)[None, :] & (line < height)
    if RESIDUAL:
        value += tl.load(residual_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
    tl.store(y_ptr + start + offset, value.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=['height', 'width'])
def depthwise_conv_kernel(
    x_ptr,
    weight_ptr,
    bias_ptr,
    residual_ptr,
    y_ptr,
    height,
    width,
    C: tl.constexpr,
    FLIP: tl.constexpr,
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Four rows of BLOCK_W pixels and BLOCK_C channels of one image. Neighbours in the grid share what they load.

    Args:
        x_ptr, y_ptr: (N, height, width, C).
        weight_ptr: (49, C); see four_rows, FLIP too.
        bias_ptr: (C,), added if BIAS.
        residual_ptr: (N, height, width, C), added if RESIDUAL.
    """
    channel_blocks: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    column_blocks, row_blocks = (width + BLOCK_W - 1) // BLOCK_W, (height + 3) // 4
    program = tl.program_id(0)
    channels = program % channel_blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    program = program // channel_blocks
    columns = program % column_blocks * BLOCK_W + tl.arange(0, BLOCK_W)
    program = program // column_blocks
    top, image = program % row_blocks * 4, program // row_blocks
    row0, row1, row2, row3 = four_rows(
        x_ptr, weight_ptr, image, top, columns, channels, height, width, C, FLIP, BLOCK_W, BLOCK_C
    )
    if BIAS:
        bias = tl.load(bias_ptr + channels, mask=channels < C, other=0.0).to(tl.float32)[None, :]
        row0, row1, row2, row3 = row0 + bias, row1 + bias, row2 + bias, row3 + bias
    _store_row(y_ptr, residual_ptr, row0, image, top, columns, channels, height, width, C, RESIDUAL)
    _store_row(
        y_ptr, residual_ptr, row1, image, top + 1, columns, channels, height, width, C, RESIDUAL
    )
    _store_row(
        y_ptr, residual_ptr, row2, image, top + 2, columns, channels, height, width, C, RESIDUAL
    )
    _store_row(
        y_ptr, residual_ptr, row3, image, top + 3, columns, channels, height, width, C, RESIDUAL
    )


def rows_of_taps(weight: Tensor) -> Tensor:
    """(C, 1, 7, 7) -> (49, C): the channels of a tap side by side, as those of a pixel."""
    return weight.reshape(-1, 49).t().contiguous()


def _launch(
    x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, flip: bool
) -> Tensor:
    images, height, width, channels = x.shape
    tile = tile_of(channels)
    y = torch.empty_like(x if residual is None else residual)
    programs = (
        blocks(channels, tile['BLOCK_C'])
        * blocks(width, tile['BLOCK_W'])
        * blocks(height, ROWS)
        * images
    )
    # Where there is no bias or residual the kernel gets x, and does not read it.
    depthwise_conv_kernel[(programs,)](
        x,
        rows_of_taps(weight),
        x if bias is None else bias.contiguous(),
        x if residual is None else residual,
        y,
        height,
        width,
        C=channels,
        FLIP=flip,
        BIAS=bias is not None,
        RESIDUAL=residual is not None,
        **tile,
    )
    return y


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """See :func:`convnext_dense.ops.reference.depthwise_conv`."""
    return _launch(x.contiguous(), weight, bias, None, flip=False)


def depthwise_input_grad(
    grad: Tensor, weight: Tensor, residual_grad: Tensor | None = None
) -> Tensor:
    """See :func:`convnext_dense.ops.reference.depthwise_input_grad`: the same convolution with reversed taps."""
    residual = None if residual_grad is None else residual_grad.contiguous()
    return _launch(grad.contiguous(), weight, None, residual, flip=True)
