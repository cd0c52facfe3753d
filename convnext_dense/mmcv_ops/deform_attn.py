"""Multi-scale deformable attention of mmcv's extension, in plain torch.

Symbols: N images, Q queries, M heads of D channels, L levels of H_l x W_l pixels (S in all), P
points on each level.

Source: Zhu et al., "Deformable DETR", section 4.1; open-mmlab/mmcv
mmcv/ops/csrc/common/cuda/ms_deform_attn_cuda_kernel.cuh @ 9390f7d532a6903fd6ae56c75fb214f4e8ee7846
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from convnext_dense.mmcv_ops.precision import upcast


@torch.no_grad()
def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Compute the attention of each head.

    ::

        output[n, q, m] = sum over l, p of A[n, q, m, l, p] * V_l[n, m](x[n, q, m, l, p])

    A are the attention weights and V_l(x) is the bilinear sample of level l at the location x, 0
    off the map.

    Args:
        value: V, (N, S, M, D).
        value_spatial_shapes: (L, 2), H_l and W_l.
        value_level_start_index: (L,), index of the first of the S pixels of each level.
        sampling_locations: x, (N, Q, M, L, P, 2), x then y, 0..1 across the map.
        attention_weights: A, (N, Q, M, L, P).
        im2col_step: images that mmcv's kernel handles at a time; changes no result.

    Returns:
        (N, Q, M * D), of ``value``'s type.

    Raises:
        RuntimeError: N is larger than ``im2col_step`` and no multiple of it.
    """
    _check(value, im2col_step)
    pixels, locations, weights = upcast(value, sampling_locations, attention_weights)
    count, queries, heads = locations.shape[:3]
    output = pixels.new_zeros(count, queries, heads, pixels.shape[3])  # (N, Q, M, D)
    for level in _levels(value_spatial_shapes, value_level_start_index):
        output += _attend(
            pixels[:, level.span],
            locations[:, :, :, level.number],
            weights[:, :, :, level.number],
            level,
        )
    return output.flatten(2).to(value.dtype)


@torch.no_grad()
def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Add the gradients w.r.t. the inputs of :func:`ms_deform_attn_forward`, level by level.

    Args:
        value: see :func:`ms_deform_attn_forward`.
        value_spatial_shapes: likewise.
        value_level_start_index: likewise.
        sampling_locations: likewise.
        attention_weights: likewise.
        grad_output: (N, Q, M * D).
        grad_value: gradient w.r.t. ``value``, added to in place.
        grad_sampling_loc: gradient w.r.t. ``sampling_locations``, added to in place.
        grad_attn_weight: gradient w.r.t. ``attention_weights``, added to in place.
        im2col_step: likewise.
    """
    _check(value, im2col_step)
    pixels, locations, weights, grad = upcast(
        value, sampling_locations, attention_weights, grad_output
    )
    grad = grad.unflatten(2, value.shape[2:])  # (N, Q, M, D)
    for level in _levels(value_spatial_shapes, value_level_start_index):
        level_pixels = pixels[:, level.span].detach().requires_grad_()
        level_locations = locations[:, :, :, level.number].detach().requires_grad_()
        level_weights = weights[:, :, :, level.number].detach().requires_grad_()
        with torch.enable_grad():
            output = _attend(level_pixels, level_locations, level_weights, level)
        grad_pixels, grad_locations, grad_weights = torch.autograd.grad(
            output, (level_pixels, level_locations, level_weights), grad
        )
        grad_value[:, level.span] += grad_pixels
        grad_sampling_loc[:, :, :, level.number] += grad_locations
        grad_attn_weight[:, :, :, level.number] += grad_weights


class _Level(NamedTuple):
    """Number, size in pixels, and which of the S pixels of all levels are its own."""

    number: int
    height: int
    width: int
    span: slice


def _check(value: Tensor, im2col_step: int) -> None:
    step = min(len(value), im2col_step)
    if len(value) and (step < 1 or len(value) % step):
        raise RuntimeError(
            f'ms_deform_attn: the batch of {len(value)} must be a multiple of '
            f'im2col_step={im2col_step}'
        )


def _levels(spatial_shapes: Tensor, level_start_index: Tensor) -> list[_Level]:
    levels = []
    starts = level_start_index.tolist()
    for number, (height, width) in enumerate(spatial_shapes.tolist()):
        start = starts[number]
        span = slice(start, start + height * width)
        levels.append(_Level(number, height, width, span))
    return levels


def _attend(pixels: Tensor, locations: Tensor, weights: Tensor, level: _Level) -> Tensor:
    """A level's part of the output, differentiable w.r.t. every input.

    Args:
        pixels: (N, H_l * W_l, M, D).
        locations: (N, Q, M, P, 2).
        weights: (N, Q, M, P).
        level: the level.

    Returns:
        (N, Q, M, D).
    """
    samples = _sample(pixels, locations, level)  # (N, Q, M, P, D)
    return (samples * weights[..., None]).sum(dim=3)


def _sample(pixels: Tensor, locations: Tensor, level: _Level) -> Tensor:
    """Bilinear samples (N, Q, M, P, D) of a level; arguments as in :func:`_attend`.

    Coordinates are rounded as in mmcv's kernel, which matters because sampling points start out on
    pixel centres, where the gradient jumps. torch's grid_sample rounds differently.
    """
    x = locations[..., 0] * level.width - 0.5  # (N, Q, M, P)
    y = locations[..., 1] * level.height - 0.5
    is_inside = (y > -1) & (x > -1) & (y < level.height) & (x < level.width)
    top = y.detach().floor()
    left = x.detach().floor()
    weight_bottom = y - top
    weight_right = x - left
    corners = (
        (top, left, (1 - weight_bottom) * (1 - weight_right)),
        (top, left + 1, (1 - weight_bottom) * weight_right),
        (top + 1, left, weight_bottom * (1 - weight_right)),
        (top + 1, left + 1, weight_bottom * weight_right),
    )
    samples = pixels.new_zeros(())
    for row, column, weight in corners:
        exists = (row >= 0) & (row < level.height) & (column >= 0) & (column < level.width)
        exists &= is_inside
        index = torch.where(exists, row * level.width + column, 0).long()
        weight = torch.where(exists, weight, 0)
        samples = samples + weight[..., None] * _gather(pixels, index)
    return samples


def _gather(pixels: Tensor, index: Tensor) -> Tensor:
    """(N, Q, M, P, D): for each head, the pixels (N, S_l, M, D) at flat ``index`` (N, Q, M, P)."""
    count, queries, heads, points = index.shape
    channels = pixels.shape[3]
    index = index.transpose(1, 2).reshape(count, heads, queries * points, 1)
    index = index.expand(-1, -1, -1, channels)  # (N, M, Q * P, D)
    gathered = pixels.transpose(1, 2).gather(2, index)  # (N, M, Q * P, D)
    return gathered.unflatten(2, (queries, points)).transpose(1, 2)
