"""Multi-scale deformable attention of mmcv's extension, in plain torch.

N images, Q queries, M heads of D channels, L levels of H_l x W_l pixels (S in all), P points on each level.

Source: Zhu et al., "Deformable DETR", section 4.1; open-mmlab/mmcv
mmcv/ops/csrc/common/cuda/ms_deform_attn_cuda_kernel.cuh @ 9390f7d532a6903fd6ae56c75fb214f4e8ee7846
"""

from __future__ import annotations

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
    """Sum over levels and points of attention weight times the bilinear sample of ``value``; 0 off the map.

    Args:
        value: (N, S, M, D).
        value_spatial_shapes: (L, 2), H_l and W_l.
        value_level_start_index: (L,), where each level starts among the S pixels.
        sampling_locations: (N, Q, M, L, P, 2), x then y, 0..1 across the map.
        attention_weights: (N, Q, M, L, P).
        im2col_step: images at a time in mmcv's kernel; N must be a multiple of it, or less. Changes no result.

    Returns:
        (N, Q, M * D), of ``value``'s type.
    """
    _check(value, im2col_step)
    pixels, locations, weights = upcast(value, sampling_locations, attention_weights)
    levels = _levels(value_spatial_shapes, value_level_start_index)
    output = sum(
        _attend(pixels[:, span], shape, locations[:, :, :, i], weights[:, :, :, i])
        for i, (span, shape) in enumerate(levels)
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
    """Add the gradients to ``grad_value``, ``grad_sampling_loc`` and ``grad_attn_weight``, one level at a time."""
    _check(value, im2col_step)
    pixels, locations, weights, grad = upcast(
        value, sampling_locations, attention_weights, grad_output
    )
    grad = grad.unflatten(2, value.shape[2:])
    for i, (span, shape) in enumerate(_levels(value_spatial_shapes, value_level_start_index)):
        inputs = pixels[:, span], locations[:, :, :, i], weights[:, :, :, i]
        grads = _gradients(inputs, shape, grad)
        grad_value[:, span] += grads[0]
        grad_sampling_loc[:, :, :, i] += grads[1]
        grad_attn_weight[:, :, :, i] += grads[2]


def _check(value: Tensor, im2col_step: int) -> None:
    step = min(len(value), im2col_step)
    if len(value) and (step < 1 or len(value) % step):
        raise RuntimeError(
            f'ms_deform_attn: the batch of {len(value)} must be a multiple of im2col_step={im2col_step}'
        )


def _levels(
    spatial_shapes: Tensor, level_start_index: Tensor
) -> list[tuple[slice, tuple[int, int]]]:
    """Which of the S pixels a level has, and its (H_l, W_l)."""
    return [
        (slice(start, start + height * width), (height, width))
        for start, (height, width) in zip(level_start_index.tolist(), spatial_shapes.tolist())
    ]


def _attend(pixels: Tensor, shape: tuple[int, int], locations: Tensor, weights: Tensor) -> Tensor:
    """One level's part of the output, (N, Q, M, D); gradients flow through every input."""
    samples = _sample(pixels, shape, locations)  # (N, Q, M, P, D)
    return (samples * weights[..., None]).sum(dim=3)


def _sample(pixels: Tensor, shape: tuple[int, int], locations: Tensor) -> Tensor:
    """Bilinear samples (N, Q, M, P, D) of one level: ``pixels`` (N, H*W, M, D) at ``locations`` (N, Q, M, P, 2).

    Coordinates are rounded as in mmcv's kernel (torch's grid_sample rounds otherwise), because points start out on
    pixel centres, where the gradient jumps.
    """
    height, width = shape
    x, y = locations[..., 0] * width - 0.5, locations[..., 1] * height - 0.5
    inside = (y > -1) & (x > -1) & (y < height) & (x < width)
    low_y, low_x = y.detach().floor(), x.detach().floor()
    ly, lx = y - low_y, x - low_x
    samples = 0
    for row, wy in ((low_y, 1 - ly), (low_y + 1, ly)):
        for column, wx in ((low_x, 1 - lx), (low_x + 1, lx)):
            there = inside & (row >= 0) & (row < height) & (column >= 0) & (column < width)
            place = torch.where(there, row * width + column, 0).long()
            samples = samples + torch.where(there, wy * wx, 0)[..., None] * _pick(pixels, place)
    return samples


def _pick(pixels: Tensor, place: Tensor) -> Tensor:
    """(N, Q, M, P, D): for each head the pixels (N, S_l, M, D) at flat indices ``place`` (N, Q, M, P)."""
    count, queries, heads, points = place.shape
    index = (
        place.transpose(1, 2)
        .reshape(count, heads, queries * points, 1)
        .expand(-1, -1, -1, pixels.shape[3])
    )
    return pixels.transpose(1, 2).gather(2, index).unflatten(2, (queries, points)).transpose(1, 2)


def _gradients(
    inputs: tuple[Tensor, ...], shape: tuple[int, int], grad_output: Tensor
) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        pixels, locations, weights = (tensor.detach().requires_grad_() for tensor in inputs)
        output = _attend(pixels, shape, locations, weights)
    return torch.autograd.grad(output, (pixels, locations, weights), grad_output)
