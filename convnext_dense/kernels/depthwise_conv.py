"""7x7 depthwise convolution of N H W C feature maps, and its gradient w.r.t. the input.

The convolution has 98 operations for every 4 bytes that it moves in bf16, which is more than the
fp32 units of a GPU can do in that time. Therefore a program computes four rows of the result
together, and each value that it loads serves up to four of them.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.common import launch, pointer, row_start

ROWS = 4  # rows of a program; the kernel names as many accumulators


def choose_tile(channels: int) -> dict[str, int]:
    """Columns and channels of a program: 8 values for each thread and row, few channels unused."""
    if channels % 64 == 0 or channels > 512:
        return dict(BLOCK_W=16, BLOCK_C=64, num_warps=4)
    return dict(BLOCK_W=32, BLOCK_C=32, num_warps=4)


@triton.jit
def _add_tap(
    total,
    x,
    taps_ptr,  # (49, C), moved to this program's channels
    in_channels,
    i: tl.constexpr,
    j: tl.constexpr,
    C: tl.constexpr,
    FLIP: tl.constexpr,
):
    """Add x * tap (i, j) to the total, unless the filter has no row i."""
    if (i >= 0) and (i < 7):
        tap: tl.constexpr = 48 - (i * 7 + j) if FLIP else i * 7 + j
        weight = tl.load(taps_ptr + tap * C, mask=in_channels, other=0.0)
        total += x * weight.to(tl.float32)
    return total


@triton.jit(do_not_specialize=['height', 'width'])
def depthwise_conv_kernel(
    x_ptr,  # (N, height, width, C): the input
    taps_ptr,  # (49, C): the filters, taps row by row
    bias_ptr,  # (C,): read if BIAS
    residual_ptr,  # (N, height, width, C): read and added if RESIDUAL
    y_ptr,  # (N, height, width, C): the result
    height,
    width,
    C: tl.constexpr,
    FLIP: tl.constexpr,  # take the taps in reverse order, as the gradient does
    BIAS: tl.constexpr,
    RESIDUAL: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Four rows of BLOCK_W columns and BLOCK_C channels of one image."""
    # Neighbouring programs share what they load: first channels, then columns, then rows.
    channel_blocks: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    column_blocks = (width + BLOCK_W - 1) // BLOCK_W
    row_blocks = (height + 3) // 4
    program = tl.program_id(0)
    channels = program % channel_blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    columns = program // channel_blocks % column_blocks * BLOCK_W + tl.arange(0, BLOCK_W)
    row_program = program // channel_blocks // column_blocks
    top = row_program % row_blocks * 4
    image = row_program // row_blocks
    in_channels = (channels < C)[None, :]

    row0 = tl.zeros((BLOCK_W, BLOCK_C), tl.float32)
    row1 = tl.zeros((BLOCK_W, BLOCK_C), tl.float32)
    row2 = tl.zeros((BLOCK_W, BLOCK_C), tl.float32)
    row3 = tl.zeros((BLOCK_W, BLOCK_C), tl.float32)
    # Pointers in the tile's shape: each thread loads the taps of its channels, none are exchanged.
    taps = taps_ptr + channels[None, :] + 0 * columns[:, None]
    for j in tl.static_range(7):
        x_columns = columns + (j - 3)
        # Outside of the map x is 0: the padding of the convolution.
        in_width = ((x_columns >= 0) & (x_columns < width))[:, None]
        offset = x_columns[:, None] * C + channels[None, :]
        for i in tl.static_range(10):
            line = top + (i - 3)
            start = row_start(image * height + line, width * C)
            mask = in_width & in_channels & (line >= 0) & (line < height)
            x = tl.load(x_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
            row0 = _add_tap(row0, x, taps, in_channels, i, j, C, FLIP)
            row1 = _add_tap(row1, x, taps, in_channels, i - 1, j, C, FLIP)
            row2 = _add_tap(row2, x, taps, in_channels, i - 2, j, C, FLIP)
            row3 = _add_tap(row3, x, taps, in_channels, i - 3, j, C, FLIP)

    rows = (row0, row1, row2, row3)
    in_row = (columns < width)[:, None] & in_channels
    y_offset = columns[:, None] * C + channels[None, :]
    for r in tl.static_range(4):
        y = rows[r]
        y_start = row_start(image * height + top + r, width * C)
        y_mask = in_row & (top + r < height)
        if BIAS:
            bias = tl.load(bias_ptr + channels, mask=channels < C, other=0.0)
            y += bias.to(tl.float32)[None, :]
        if RESIDUAL:
            residual = tl.load(residual_ptr + y_start + y_offset, mask=y_mask, other=0.0)
            y += residual.to(tl.float32)
        tl.store(y_ptr + y_start + y_offset, y.to(y_ptr.dtype.element_ty), mask=y_mask)


def _convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, residual: Tensor | None, flip: bool
) -> Tensor:
    x = x.contiguous()
    images, height, width, channels = x.shape
    taps = weight.reshape(-1, 49).t().contiguous()  # (C, 1, 7, 7) -> (49, C), as the channels of x
    y = torch.empty(x.shape, dtype=(x if residual is None else residual).dtype, device=x.device)
    tile = choose_tile(channels)
    row_programs = images * triton.cdiv(height, ROWS)
    column_programs = triton.cdiv(width, tile['BLOCK_W']) * triton.cdiv(channels, tile['BLOCK_C'])
    launch(
        depthwise_conv_kernel,
        row_programs * column_programs,
        x,
        taps,
        pointer(bias, stand_in=x),
        pointer(residual, stand_in=x),
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
    """Convolve; see ``TorchOps.depthwise_conv``."""
    return _convolve(x, weight, bias, None, flip=False)


def depthwise_input_grad(
    grad: Tensor, weight: Tensor, residual_grad: Tensor | None = None
) -> Tensor:
    """Convolve the gradient with reversed taps; see ``TorchOps.depthwise_input_grad``."""
    return _convolve(grad, weight, None, residual_grad, flip=True)
