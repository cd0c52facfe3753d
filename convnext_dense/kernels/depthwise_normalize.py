"""7x7 depthwise convolution and LayerNorm without weight and bias in one pass over memory.

A program makes four rows of pixels with all their channels, block of channels by block, and keeps each pixel's mean and
squared deviation. It writes the convolution's output where the result goes, reads it back from the cache and normalizes
it in its place: each element of it belongs to one program.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.depthwise_conv import ROWS, four_rows, rows_of_taps, tile_of
from convnext_dense.kernels.shared import blocks, row_start


@triton.jit
def _add_block(mean, deviation, value, channels, start, C: tl.constexpr, BLOCK_C: tl.constexpr):
    """Mean and sum of squared deviations, (BLOCK_W,), of ``start`` channels and of this block's together.

    A sum of squares would lose them where the mean is large. Source: Chan, Golub, LeVeque 1983, equation 2.1.
    """
    inside = (channels < C)[None, :]
    count = tl.minimum(C - start, BLOCK_C).to(tl.float32)
    block_mean = tl.sum(tl.where(inside, value, 0.0), 1) / count
    centered = tl.where(inside, value - block_mean[:, None], 0.0)
    step, share = block_mean - mean, count / (count + start)
    return mean + step * share, deviation + tl.sum(
        centered * centered, 1
    ) + step * step * start * share


@triton.jit
def _store_row(n_ptr, value, image, line, columns, channels, height, width, C: tl.constexpr):
    """Rounds a row of the convolution to the dtype of n, stores it there, and returns it as fp32."""
    mask = (columns < width)[:, None] & (channels < C)[None, :] & (line < height)
    value = value.to(n_ptr.dtype.element_ty)
    offset = columns[:, None] * C + channels[None, :]
    tl.store(n_ptr + row_start(image * height + line, width * C) + offset, value, mask=mask)
    return value.to(tl.float32)


@triton.jit
def _normalize_row(
    n_ptr, mean, rstd, image, line, columns, channels, height, width, C: tl.constexpr
):
    mask = (columns < width)[:, None] & (channels < C)[None, :] & (line < height)
    at = (
        n_ptr
        + row_start(image * height + line, width * C)
        + (columns[:, None] * C + channels[None, :])
    )
    n = (tl.load(at, mask=mask, other=0.0).to(tl.float32) - mean[:, None]) * rstd[:, None]
    tl.store(at, n.to(n_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _store_rstd(rstd_ptr, rstd, image, line, columns, height, width):
    tl.store(
        rstd_ptr + row_start(image * height + line, width) + columns,
        rstd,
        mask=(columns < width) & (line < height),
    )


@triton.jit(do_not_specialize=['height', 'width'])
def depthwise_normalize_kernel(
    x_ptr,
    taps_ptr,
    bias_ptr,
    n_ptr,
    rstd_ptr,
    height,
    width,
    eps,
    C: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Four rows of BLOCK_W pixels of one image, all channels.

    Args:
        x_ptr, n_ptr: (N, height, width, C).
        taps_ptr: (49, C).
        bias_ptr: (C,).
        rstd_ptr: (N, height, width) fp32.
    """
    column_blocks, row_blocks = (width + BLOCK_W - 1) // BLOCK_W, (height + 3) // 4
    program = tl.program_id(0)
    columns = program % column_blocks * BLOCK_W + tl.arange(0, BLOCK_W)
    top = program // column_blocks % row_blocks * 4
    image = program // column_blocks // row_blocks
    mean0 = tl.zeros((BLOCK_W,), tl.float32)
    mean1, mean2, mean3, dev0, dev1, dev2, dev3 = mean0, mean0, mean0, mean0, mean0, mean0, mean0
    for start in tl.range(0, C, BLOCK_C):
        channels = start + tl.arange(0, BLOCK_C)
        row0, row1, row2, row3 = four_rows(
            x_ptr,
            taps_ptr,
            image,
            top,
            columns,
            channels,
            height,
            width,
            C,
            False,
            BLOCK_W,
            BLOCK_C,
        )
        bias = tl.load(bias_ptr + channels, mask=channels < C, other=0.0).to(tl.float32)[None, :]
        row0 = _store_row(n_ptr, row0 + bias, image, top, columns, channels, height, width, C)
        row1 = _store_row(n_ptr, row1 + bias, image, top + 1, columns, channels, height, width, C)
        row2 = _store_row(n_ptr, row2 + bias, image, top + 2, columns, channels, height, width, C)
        row3 = _store_row(n_ptr, row3 + bias, image, top + 3, columns, channels, height, width, C)
        mean0, dev0 = _add_block(mean0, dev0, row0, channels, start, C, BLOCK_C)
        mean1, dev1 = _add_block(mean1, dev1, row1, channels, start, C, BLOCK_C)
        mean2, dev2 = _add_block(mean2, dev2, row2, channels, start, C, BLOCK_C)
        mean3, dev3 = _add_block(mean3, dev3, row3, channels, start, C, BLOCK_C)
    rstd0, rstd1 = tl.rsqrt(dev0 / C + eps), tl.rsqrt(dev1 / C + eps)
    rstd2, rstd3 = tl.rsqrt(dev2 / C + eps), tl.rsqrt(dev3 / C + eps)
    _store_rstd(rstd_ptr, rstd0, image, top, columns, height, width)
    _store_rstd(rstd_ptr, rstd1, image, top + 1, columns, height, width)
    _store_rstd(rstd_ptr, rstd2, image, top + 2, columns, height, width)
    _store_rstd(rstd_ptr, rstd3, image, top + 3, columns, height, width)
    tl.debug_barrier()  # what other threads of the program have stored is read from here
    for start in tl.range(0, C, BLOCK_C):
        channels = start + tl.arange(0, BLOCK_C)
        _normalize_row(n_ptr, mean0, rstd0, image, top, columns, channels, height, width, C)
        _normalize_row(n_ptr, mean1, rstd1, image, top + 1, columns, channels, height, width, C)
        _normalize_row(n_ptr, mean2, rstd2, image, top + 2, columns, channels, height, width, C)
        _normalize_row(n_ptr, mean3, rstd3, image, top + 3, columns, channels, height, width, C)


def depthwise_normalize(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-6
) -> tuple[Tensor, Tensor]:
    """See :func:`convnext_dense.ops.reference.depthwise_normalize`."""
    x = x.contiguous()
    (images, height, width, channels), n = x.shape, torch.empty_like(x)
    rstd, tile = torch.empty(x.shape[:3], dtype=torch.float32, device=x.device), tile_of(channels)
    depthwise_normalize_kernel[(blocks(width, tile['BLOCK_W']) * blocks(height, ROWS) * images,)](
        x, rows_of_taps(weight), bias.contiguous(), n, rstd, height, width, eps, C=channels, **tile
    )
    return n, rstd
