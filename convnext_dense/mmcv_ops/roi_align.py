"""RoIAlign of mmcv's extension: torchvision's kernel for the average, plain torch for the maximum.

RoIs are (R, 5): index of the image in the batch, then x1, y1, x2, y2 in input pixels. All other
coordinates and sizes are in pixels of the feature map.

Source: He et al., "Mask R-CNN", section 3; open-mmlab/mmcv mmcv/ops/csrc/pytorch/cpu/roi_align.cpp
@ 06071033fd15d0bc94645c52d4ae74c7bc918b38
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

from convnext_dense.mmcv_ops.precision import as_float32, upcast

_MAX = 0
_AVG = 1
# What mmcv writes for a bin without a sample, and for a bin whose samples are all smaller.
_FLOOR_CPU = -10000.0
_FLOOR_CUDA = -torch.finfo(torch.float32).max
# The maximum holds about this many samples at a time.
_CHUNK_SIZE = 2**24


class Pooling(NamedTuple):
    """How to pool.

    Attributes:
        height: bins along y.
        width: bins along x.
        spatial_scale: from input pixels to pixels of the feature map.
        sampling_ratio: samples along each side of a bin; 0 = one for each pixel.
        aligned: whether coordinates are shifted by half a pixel.
    """

    height: int
    width: int
    spatial_scale: float
    sampling_ratio: int
    aligned: bool


@torch.no_grad()
def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Take the average or the maximum of the samples in each bin of each RoI.

    ::

        start     = (y1, x1) * spatial_scale - shift                shift: 0.5 if aligned, else 0
        step      = ((y2, x2) - (y1, x1)) * spatial_scale / (height, width)           size of a bin
        sample k  = start + (bin + (k + 0.5) / g) * step            k in 0..g-1, on each axis
        output[r, c, bin] = mean or max over the g_y * g_x bilinear samples of input[n, c]

    Args:
        input: (N, C, H, W).
        rois: (R, 5).
        output: (R, C, ``aligned_height``, ``aligned_width``), written in place.
        argmax_y: of ``output``'s shape; for the maximum written in place with the y of the largest
            sample, otherwise unused.
        argmax_x: likewise, with its x.
        aligned_height: bins along y.
        aligned_width: bins along x.
        spatial_scale: from input pixels to pixels of the feature map.
        sampling_ratio: g, samples along each side of a bin; 0 takes one for each pixel.
        pool_mode: 0 maximum, 1 average.
        aligned: whether to shift by half a pixel. If not, a RoI is at least a pixel wide and high.

    Raises:
        RuntimeError: on the CPU, an aligned RoI with x2 < x1 or y2 < y1 (as in mmcv).
        IndexError: on the CPU, a RoI of an image that is not in the batch.
    """
    scale = as_float32(spatial_scale)
    pooling = Pooling(aligned_height, aligned_width, scale, sampling_ratio, aligned)
    features, boxes = upcast(input, rois)
    _check(boxes, len(input), pooling, pool_mode)
    if pool_mode == _AVG:
        average = torch.ops.torchvision.roi_align(
            features, boxes, scale, aligned_height, aligned_width, sampling_ratio, aligned
        )
        output.copy_(average)
        return
    for index, grid in _equal_grids(boxes, pooling, features.shape[1]):
        value, y, x = _max_of_bins(features, boxes[index], pooling, grid)
        output[index] = value.to(output)
        argmax_y[index] = y.to(output)
        argmax_x[index] = x.to(output)


@torch.no_grad()
def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add the gradient w.r.t. the input of :func:`roi_align_forward` to ``grad_input``.

    Args:
        grad_output: (R, C, ``aligned_height``, ``aligned_width``).
        rois: see :func:`roi_align_forward`.
        argmax_y: what the forward has written.
        argmax_x: likewise.
        grad_input: (N, C, H, W), added to in place.
        aligned_height: see :func:`roi_align_forward`.
        aligned_width: likewise.
        spatial_scale: likewise.
        sampling_ratio: likewise.
        pool_mode: likewise.
        aligned: likewise.
    """
    scale = as_float32(spatial_scale)
    pooling = Pooling(aligned_height, aligned_width, scale, sampling_ratio, aligned)
    grad, boxes = upcast(grad_output, rois)
    _check(boxes, len(grad_input), pooling, pool_mode)
    if pool_mode == _AVG:
        grad_input += torch.ops.torchvision._roi_align_backward(
            grad,
            boxes,
            scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    else:
        image = boxes[:, 0].long()
        grad_input += _max_backward(grad, image, argmax_y, argmax_x, grad_input.shape)


def _check(rois: Tensor, num_images: int, pooling: Pooling, pool_mode: int) -> None:
    if rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(
            f'roi_align: rois must be (R, 5): image index, x1, y1, x2, y2; got {tuple(rois.shape)}'
        )
    if pool_mode not in (_MAX, _AVG):
        raise ValueError(
            f'roi_align: pool_mode must be {_MAX} (max) or {_AVG} (average), got {pool_mode!r}'
        )
    if rois.device.type != 'cpu' or not len(rois):
        return  # on another device, reading the values would wait for it
    index = rois[:, 0].long()
    if index.min() < 0 or index.max() >= num_images:
        raise IndexError(
            f'roi_align: image indices must be in 0..{num_images - 1}, got '
            f'{index.min()}..{index.max()}'
        )
    _, sides = _start_and_sides(rois, pooling)
    is_malformed = ~(sides >= 0).all(dim=1)  # also where a side is NaN
    if pooling.aligned and is_malformed.any():
        raise RuntimeError(
            'roi_align: an aligned RoI needs x1 <= x2 and y1 <= y2, got '
            f'{rois[is_malformed][0].tolist()}; drop or clip such RoIs first'
        )


def _start_and_sides(rois: Tensor, pooling: Pooling) -> tuple[Tensor, Tensor]:
    """Upper left corner (R, 2) and sides (R, 2) of each RoI, y then x."""
    shift = 0.5 if pooling.aligned else 0.0
    start = rois[:, [2, 1]] * pooling.spatial_scale - shift
    end = rois[:, [4, 3]] * pooling.spatial_scale - shift
    sides = end - start
    if not pooling.aligned:
        sides = sides.clamp(min=1)
    return start, sides


def _equal_grids(
    rois: Tensor, pooling: Pooling, channels: int
) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Split the RoIs into parts with equal numbers of samples, small enough for the memory.

    Yields:
        Indices of RoIs, and the samples along y and along x of their bins.
    """
    _, sides = _start_and_sides(rois, pooling)
    bins = rois.new_tensor([pooling.height, pooling.width])
    grids = torch.ceil(sides / bins).long()  # (R, 2)
    if pooling.sampling_ratio > 0:
        grids = torch.full_like(grids, pooling.sampling_ratio)
    for grid in grids.unique(dim=0):
        samples_per_bin = int(grid.clamp(min=1).prod())
        samples_per_roi = channels * pooling.height * pooling.width * samples_per_bin
        has_grid = (grids == grid).all(dim=1)
        grid_y, grid_x = grid.tolist()
        for index in has_grid.nonzero()[:, 0].split(max(1, _CHUNK_SIZE // samples_per_roi)):
            yield index, (grid_y, grid_x)


def _max_of_bins(
    features: Tensor, rois: Tensor, pooling: Pooling, grid: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """The largest sample of each bin, its y and its x, each (R, C, height, width).

    Args:
        features: (N, C, H, W).
        rois: (R, 5).
        pooling: how to pool.
        grid: samples along y and along x of a bin, the same for all RoIs.
    """
    grid_y, grid_x = grid
    shape = (len(rois), features.shape[1], pooling.height, pooling.width)
    floor = features.new_full(shape, _FLOOR_CPU if rois.device.type == 'cpu' else _FLOOR_CUDA)
    nowhere = features.new_full(shape, -1)
    if grid_y < 1 or grid_x < 1:
        return floor, nowhere, nowhere
    start, sides = _start_and_sides(rois, pooling)
    ys = _sample_points(start[:, 0], sides[:, 0], pooling.height, grid_y)  # (R, height, grid_y)
    xs = _sample_points(start[:, 1], sides[:, 1], pooling.width, grid_x)  # (R, width, grid_x)
    samples = _bilinear(features, rois[:, 0].long(), ys.flatten(1), xs.flatten(1))
    samples = samples.unflatten(2, (pooling.width, grid_x))
    samples = samples.unflatten(
        1, (pooling.height, grid_y)
    )  # (R, height, grid_y, width, grid_x, C)
    samples = samples.permute(0, 5, 1, 3, 2, 4).flatten(4)  # (R, C, height, width, grid_y * grid_x)
    value, place = samples.max(dim=-1)  # the first of equal samples
    y = ys[:, None, :, None].expand(*shape, -1).gather(-1, (place // grid_x)[..., None])[..., 0]
    x = xs[:, None, None].expand(*shape, -1).gather(-1, (place % grid_x)[..., None])[..., 0]
    is_found = value > floor
    return (
        torch.where(is_found, value, floor),
        torch.where(is_found, y, nowhere),
        torch.where(is_found, x, nowhere),
    )


def _sample_points(start: Tensor, side: Tensor, bins: int, samples: int) -> Tensor:
    """Coordinates (R, bins, samples) of the samples along an axis; ``start``, ``side`` (R,)."""
    step = (side / bins)[:, None, None]
    bin_index = torch.arange(bins).to(start)[:, None]
    sample_index = torch.arange(samples).to(start)
    return start[:, None, None] + bin_index * step + (sample_index + 0.5) * step / samples


class _Neighbours(NamedTuple):
    """The pixels on both sides of a coordinate, its distance from the first, and if it is valid."""

    first: Tensor
    second: Tensor
    distance: Tensor
    is_inside: Tensor


def _neighbours(coordinate: Tensor, size: int) -> _Neighbours:
    is_inside = (coordinate >= -1) & (coordinate <= size)
    clipped = torch.where(is_inside, coordinate, 0).clamp(min=0, max=size - 1)
    first = clipped.long()
    second = (first + 1).clamp(max=size - 1)
    return _Neighbours(first, second, clipped - first, is_inside)


def _corners(ys: Tensor, xs: Tensor, height: int, width: int) -> list[tuple[Tensor, Tensor]]:
    """(flat index into the feature map, weight) of the four neighbours of each point.

    Args:
        ys: y of the points.
        xs: x of the points; broadcasts with ``ys``.
        height: H of the feature map.
        width: W of the feature map.
    """
    y = _neighbours(ys, height)
    x = _neighbours(xs, width)
    is_inside = y.is_inside & x.is_inside
    corners = (
        (y.first, x.first, (1 - y.distance) * (1 - x.distance)),
        (y.first, x.second, (1 - y.distance) * x.distance),
        (y.second, x.first, y.distance * (1 - x.distance)),
        (y.second, x.second, y.distance * x.distance),
    )
    return [
        (row * width + column, torch.where(is_inside, weight, 0)) for row, column, weight in corners
    ]


def _bilinear(features: Tensor, image: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
    """Bilinear samples (R, Y, X, C); 0 off the map.

    Args:
        features: (N, C, H, W).
        image: (R,) index into N.
        ys: (R, Y).
        xs: (R, X).
    """
    height, width = features.shape[2:]
    flat = features.flatten(2)  # (N, C, H * W)
    samples = features.new_zeros(())
    for place, weight in _corners(ys[:, :, None], xs[:, None, :], height, width):
        samples = samples + weight[..., None] * flat[image[:, None, None], :, place]
    return samples


def _max_backward(
    grad: Tensor, image: Tensor, argmax_y: Tensor, argmax_x: Tensor, shape: torch.Size
) -> Tensor:
    """Gradient w.r.t. the input (N, C, H, W).

    The gradient of a bin goes to the four neighbours of its largest sample.

    Args:
        grad: (R, C, height, width).
        image: (R,) index into N.
        argmax_y: of ``grad``'s shape; -1 where a bin has no sample.
        argmax_x: likewise.
        shape: (N, C, H, W).
    """
    count, channels, height, width = shape
    ys, xs = upcast(argmax_y, argmax_x)
    plane = image[:, None] * channels + torch.arange(channels, device=image.device)  # (R, C)
    first_pixel = plane[:, :, None, None] * height * width
    grad = torch.where(ys == -1, 0, grad)
    total = grad.new_zeros(count * channels * height * width)
    for place, weight in _corners(ys, xs, height, width):
        total.index_add_(0, (first_pixel + place).flatten(), (grad * weight).flatten())
    return total.view(shape)
