"""RoIPool of mmcv's extension, in plain torch: torchvision's rounds the RoIs to whole pixels first, mmcv's does not.

Source: Girshick, "Fast R-CNN", section 2.1; open-mmlab/mmcv mmcv/ops/csrc/common/cuda/roi_pool_cuda_kernel.cuh
@ 86d50f113f8614cca80fdcccafa5cf50d74d963b
"""

from __future__ import annotations

import torch
from torch import Tensor

from convnext_dense.mmcv_ops.precision import as_float32, upcast


@torch.no_grad()
def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Maximum over the pixels of each bin; 0 and index -1 for a bin that is off the map.

    Args:
        input: (N, C, H, W).
        rois: (R, 5): index of the image, then x1, y1, x2, y2 in input pixels, the last pixel included.
        output: (R, C, ``pooled_height``, ``pooled_width``), written in place, but not for a RoI whose width
            or height is not positive: such a one keeps what ``output`` and ``argmax`` hold, as in mmcv.
        argmax: int32, of ``output``'s shape, written in place: y * W + x of the maximum, the first if several.
    """
    _check(rois)
    features, boxes = upcast(input, rois)
    size = torch.tensor([pooled_height, pooled_width])
    boxes = boxes.cpu()
    start, end = (
        boxes[:, [2, 1]] * as_float32(spatial_scale),
        (boxes[:, [4, 3]] + 1) * as_float32(spatial_scale),
    )
    images = boxes[:, 0].long().tolist()
    for r in (end > start).all(dim=1).nonzero()[:, 0].tolist():
        step = (end[r] - start[r]) / size
        y_bins, x_bins = (
            _bins(start[r, axis], step[axis], int(size[axis]), input.shape[2 + axis])
            for axis in (0, 1)
        )
        if not 0 <= images[r] < len(input):
            raise IndexError(
                f'roi_pool: image indices must be in 0..{len(input) - 1}, got {images[r]}'
            )
        value, place = _pool(features[images[r]], y_bins, x_bins)
        output[r], argmax[r] = value.to(output), place.to(argmax)


@torch.no_grad()
def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add to ``grad_input`` (N, C, H, W) each bin's gradient at its ``argmax``; -1 takes none."""
    _check(rois)
    count, channels, height, width = grad_input.shape
    plane = rois[:, :1].long() * channels + torch.arange(channels, device=rois.device)  # (R, C)
    place = plane[:, :, None, None] * height * width + argmax.clamp(min=0)
    (grad,) = upcast(torch.where(argmax < 0, 0, grad_output))
    total = grad.new_zeros(count * channels * height * width)
    grad_input += total.index_add_(0, place.flatten(), grad.flatten()).view(grad_input.shape)


def _check(rois: Tensor) -> None:
    if rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(
            f'roi_pool: rois must be (R, 5): image index, x1, y1, x2, y2; got {tuple(rois.shape)}'
        )


def _bins(start: Tensor, step: Tensor, count: int, size: int) -> list[tuple[int, int]]:
    """First pixel and the one past the last of each bin along one axis, clipped to the map; bins may overlap."""
    bins = torch.arange(count).to(start)
    low = torch.floor(bins * step + start).clamp(0, size).long()
    high = torch.ceil((bins + 1) * step + start).clamp(0, size).long()
    return list(zip(low.tolist(), high.tolist()))


def _pool(
    image: Tensor, y_bins: list[tuple[int, int]], x_bins: list[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """Maximum of each bin of ``image`` (C, H, W) and its flat index: along x, then along y, so the first wins."""
    top, bottom = min(low for low, _ in y_bins), max(high for _, high in y_bins)
    if bottom <= top:
        value = image.new_zeros(image.shape[0], len(y_bins), len(x_bins))
        return value, torch.full_like(value, -1, dtype=torch.long)
    value, column = _max_along(image[:, top:bottom], 2, x_bins)
    value, row = _max_along(value, 1, [(low - top, high - top) for low, high in y_bins])
    place = (row + top) * image.shape[2] + column.gather(1, row)
    empty = torch.isneginf(value)
    return value.masked_fill(empty, 0), place.masked_fill(empty, -1)


def _max_along(x: Tensor, dim: int, bins: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Maximum of each bin along ``dim`` and its position there; -inf and 0 for an empty bin."""
    values, places = [], []
    for low, high in bins:
        if high > low:
            value, place = x.narrow(dim, low, high - low).max(dim)
            place = place + low
        else:
            value = torch.full_like(x.select(dim, 0), -torch.inf)
            place = torch.zeros_like(value, dtype=torch.long)
        values.append(value)
        places.append(place)
    return torch.stack(values, dim), torch.stack(places, dim)
