"""RoIAlign, average and max, of mmcv's extension: torchvision's kernel for the average, plain torch for the max.

RoIs are (R, 5): index of the image in the batch, then x1, y1, x2, y2 in input pixels.

Source: He et al., "Mask R-CNN", section 3; open-mmlab/mmcv mmcv/ops/csrc/pytorch/cpu/roi_align.cpp
@ 06071033fd15d0bc94645c52d4ae74c7bc918b38
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

from convnext_dense.mmcv_ops.precision import as_float32, upcast

_MAX, _AVG = 0, 1
# what mmcv writes for a bin with no sample, and for one whose samples are all below it
_FLOOR_CPU, _FLOOR_CUDA = -10000.0, -torch.finfo(torch.float32).max
_CHUNK = 2**24  # samples held at a time by the max mode


class Pooling(NamedTuple):
    """How to pool: output height and width, scale from input pixels to the map, samples a side (0 = adaptive)."""

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
    """Average or maximum of the bilinear samples of each bin.

    Args:
        input: (N, C, H, W).
        rois: (R, 5).
        output: (R, C, ``aligned_height``, ``aligned_width``), written in place.
        argmax_y: of ``output``'s shape in the max mode, written in place with the y of the largest sample, in pixels
            of the map; else unused. ``argmax_x`` likewise.
        sampling_ratio: samples along each side of a bin; 0 takes one for each pixel of the map.
        pool_mode: 0 max, 1 average.
        aligned: shift by half a pixel; a RoI may then be smaller than a pixel.

    Raises:
        RuntimeError: on the CPU, an aligned RoI with x2 < x1 or y2 < y1 (refused by mmcv's CPU code too).
        IndexError: on the CPU, a RoI of an image that is not in the batch.
    """
    pooling = Pooling(
        aligned_height, aligned_width, as_float32(spatial_scale), sampling_ratio, aligned
    )
    features, boxes = upcast(input, rois)
    _check(boxes, len(input), pooling, pool_mode)
    if pool_mode == _AVG:
        output.copy_(
            torch.ops.torchvision.roi_align(
                features,
                boxes,
                pooling.spatial_scale,
                aligned_height,
                aligned_width,
                sampling_ratio,
                aligned,
            )
        )
        return
    for part, grid in _equal_grids(boxes, pooling, features.shape[1]):
        output[part], argmax_y[part], argmax_x[part] = (
            values.to(output) for values in _max_bins(features, boxes[part], pooling, grid)
        )


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
    """Add to ``grad_input`` (N, C, H, W) the gradient of ``roi_align_forward``; arguments as there."""
    pooling = Pooling(
        aligned_height, aligned_width, as_float32(spatial_scale), sampling_ratio, aligned
    )
    grad, boxes = upcast(grad_output, rois)
    _check(boxes, len(grad_input), pooling, pool_mode)
    if pool_mode == _AVG:
        grad_input += torch.ops.torchvision._roi_align_backward(
            grad,
            boxes,
            pooling.spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    else:
        grad_input += _max_backward(grad, boxes[:, 0].long(), argmax_y, argmax_x, grad_input.shape)


def _check(rois: Tensor, images: int, pooling: Pooling, pool_mode: int) -> None:
    if rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(
            f'roi_align: rois must be (R, 5): image index, x1, y1, x2, y2; got {tuple(rois.shape)}'
        )
    if pool_mode not in (_MAX, _AVG):
        raise ValueError(
            f'roi_align: pool_mode must be {_MAX} (max) or {_AVG} (average), got {pool_mode!r}'
        )
    if rois.device.type != 'cpu' or not len(rois):
        return  # elsewhere a look at the values would wait for the device
    index = rois[:, 0].long()
    if index.min() < 0 or index.max() >= images:
        raise IndexError(
            f'roi_align: image indices must be in 0..{images - 1}, got {index.min()}..{index.max()}'
        )
    sides = _start_and_sides(rois, pooling)[1]
    malformed = ~(sides >= 0).all(dim=1)  # NaN too
    if pooling.aligned and malformed.any():
        raise RuntimeError(
            'roi_align: an aligned RoI needs x1 <= x2 and y1 <= y2, got '
            f'{rois[malformed][0].tolist()}; drop or clip such RoIs first'
        )


def _start_and_sides(rois: Tensor, pooling: Pooling) -> tuple[Tensor, Tensor]:
    """Upper left corner (R, 2) and sides (R, 2) in pixels of the map, each y then x."""
    shift = 0.5 if pooling.aligned else 0.0
    start, end = (rois[:, columns] * pooling.spatial_scale - shift for columns in ([2, 1], [4, 3]))
    sides = end - start
    return start, sides if pooling.aligned else sides.clamp(min=1)


def _equal_grids(rois: Tensor, pooling: Pooling, channels: int):
    """Yield (indices of RoIs, their samples along y and x of a bin), in parts that fit in memory."""
    size = rois.new_tensor([pooling.height, pooling.width])
    grids = torch.ceil(_start_and_sides(rois, pooling)[1] / size).long()
    if pooling.sampling_ratio > 0:
        grids = torch.full_like(grids, pooling.sampling_ratio)
    for grid in grids.unique(dim=0):
        samples = channels * pooling.height * pooling.width * int(grid.clamp(min=1).prod())
        for part in (grids == grid).all(dim=1).nonzero()[:, 0].split(max(1, _CHUNK // samples)):
            yield part, grid.tolist()


def _max_bins(
    features: Tensor, rois: Tensor, pooling: Pooling, grid: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Largest sample of each bin, its y and its x, each (R, C, height, width); all RoIs have the same ``grid``."""
    shape = (len(rois), features.shape[1], pooling.height, pooling.width)
    floor = _FLOOR_CPU if rois.device.type == 'cpu' else _FLOOR_CUDA
    best, none = features.new_full(shape, floor), features.new_full(shape, -1)
    if min(grid) < 1:
        return best, none, none
    ys, xs = _sample_points(rois, pooling, grid)  # (R, height, grid_y), (R, width, grid_x)
    samples = _bilinear(features, rois[:, 0].long(), ys.flatten(1), xs.flatten(1))
    samples = (
        samples.reshape(len(rois), *ys.shape[1:], *xs.shape[1:], -1)
        .permute(0, 5, 1, 3, 2, 4)
        .flatten(4)
    )
    value, place = samples.max(dim=-1)  # (R, C, height, width), the first of equal samples
    y = ys[:, None, :, None].expand(*shape, -1).gather(-1, (place // grid[1])[..., None])[..., 0]
    x = xs[:, None, None].expand(*shape, -1).gather(-1, (place % grid[1])[..., None])[..., 0]
    found = value > best
    return torch.where(found, value, best), torch.where(found, y, none), torch.where(found, x, none)


def _sample_points(rois: Tensor, pooling: Pooling, grid: list[int]) -> list[Tensor]:
    """Coordinates of the samples along y (R, height, grid_y) and along x (R, width, grid_x)."""
    start, sides = _start_and_sides(rois, pooling)
    points = []
    for axis, bins in enumerate((pooling.height, pooling.width)):
        step = (sides[:, axis] / bins)[:, None, None]
        place, sample = torch.arange(bins).to(rois)[:, None], torch.arange(grid[axis]).to(rois)
        points.append(
            start[:, axis, None, None] + place * step + (sample + 0.5) * step / grid[axis]
        )
    return points


def _neighbours(coordinate: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pixel below, pixel above, distance from the one below, and whether the coordinate is on the map at all."""
    inside = (coordinate >= -1) & (coordinate <= size)
    coordinate = torch.where(inside, coordinate, 0).clamp(min=0, max=size - 1)
    low = coordinate.long()
    return low, (low + 1).clamp(max=size - 1), coordinate - low, inside


def _corners(ys: Tensor, xs: Tensor, height: int, width: int):
    """Yield (flat index into the map, weight) of the four neighbours of the points ``ys``, ``xs`` (they broadcast)."""
    y0, y1, ly, inside_y = _neighbours(ys, height)
    x0, x1, lx, inside_x = _neighbours(xs, width)
    inside = inside_y & inside_x
    for y, wy in ((y0, 1 - ly), (y1, ly)):
        for x, wx in ((x0, 1 - lx), (x1, lx)):
            yield y * width + x, torch.where(inside, wy * wx, 0)


def _bilinear(features: Tensor, image: Tensor, ys: Tensor, xs: Tensor) -> Tensor:
    """Samples (R, Y, X, C) of map ``image[r]`` at the grid of ``ys`` (R, Y) and ``xs`` (R, X); 0 off the map."""
    flat = features.flatten(2)  # (N, C, H*W)
    corners = _corners(ys[:, :, None], xs[:, None, :], *features.shape[2:])
    return sum(
        weight[..., None] * flat[image[:, None, None], :, place] for place, weight in corners
    )


def _max_backward(
    grad: Tensor, image: Tensor, argmax_y: Tensor, argmax_x: Tensor, shape: torch.Size
) -> Tensor:
    """Gradient (N, C, H, W): each bin's goes to the four neighbours of its largest sample, none where y is -1."""
    count, channels, height, width = shape
    ys, xs = upcast(argmax_y, argmax_x)
    plane = (image[:, None] * channels + torch.arange(channels, device=image.device))[
        :, :, None, None
    ]
    grad = torch.where(ys == -1, 0, grad)
    total = grad.new_zeros(count * channels * height * width)
    for place, weight in _corners(ys, xs, height, width):
        total.index_add_(0, (plane * height * width + place).flatten(), (grad * weight).flatten())
    return total.view(shape)
