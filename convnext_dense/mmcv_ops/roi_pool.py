"""RoIPool of mmcv's extension, in plain torch.

torchvision's RoIPool cannot be used: it rounds the RoIs to whole pixels first, mmcv's does not.

Source: Girshick, "Fast R-CNN", section 2.1; open-mmlab/mmcv
mmcv/ops/csrc/common/cuda/roi_pool_cuda_kernel.cuh @ 86d50f113f8614cca80fdcccafa5cf50d74d963b
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
    """Take the maximum of the pixels in each bin of each RoI.

    ::

        output[r, c, i, j] = max of input[n, c, y, x] over the pixels y, x of bin (i, j) of RoI r

    A bin that is off the map has the value 0 and the index -1.

    Args:
        input: (N, C, H, W).
        rois: (R, 5): index n of the image, then x1, y1, x2, y2 in input pixels, the last pixel
            included.
        output: (R, C, ``pooled_height``, ``pooled_width``), written in place. As in mmcv, nothing
            is written for a RoI whose width or height is not positive.
        argmax: int32, of ``output``'s shape, written likewise: y * W + x of the first maximum.
        pooled_height: bins along y.
        pooled_width: bins along x.
        spatial_scale: from input pixels to pixels of the feature map.

    Raises:
        IndexError: a RoI of an image that is not in the batch.
    """
    _check(rois)
    features, boxes = upcast(input, rois)
    bins = torch.tensor([pooled_height, pooled_width])
    boxes = boxes.cpu()
    scale = as_float32(spatial_scale)
    start = boxes[:, [2, 1]] * scale  # (R, 2), y then x, in pixels of the map
    end = (boxes[:, [4, 3]] + 1) * scale
    images = boxes[:, 0].long().tolist()
    has_area = (end > start).all(dim=1)
    for r in has_area.nonzero()[:, 0].tolist():
        image = images[r]
        if not 0 <= image < len(input):
            raise IndexError(f'roi_pool: image indices must be in 0..{len(input) - 1}, got {image}')
        step = (end[r] - start[r]) / bins  # size of a bin
        y_bins = _bins(start[r, 0], step[0], pooled_height, input.shape[2])
        x_bins = _bins(start[r, 1], step[1], pooled_width, input.shape[3])
        value, place = _pool(features[image], y_bins, x_bins)
        output[r] = value.to(output)
        argmax[r] = place.to(argmax)


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
    """Add the gradient of each bin to ``grad_input`` at its ``argmax``.

    Args:
        grad_output: (R, C, ``pooled_height``, ``pooled_width``).
        rois: see :func:`roi_pool_forward`.
        argmax: what the forward has written; -1 takes no gradient.
        grad_input: (N, C, H, W), added to in place.
        pooled_height: see :func:`roi_pool_forward`.
        pooled_width: likewise.
        spatial_scale: likewise.
    """
    _check(rois)
    count, channels, height, width = grad_input.shape
    # Flat index of each gradient's pixel: of its image and channel, then in the feature map.
    plane = rois[:, :1].long() * channels + torch.arange(channels, device=rois.device)  # (R, C)
    place = plane[:, :, None, None] * height * width + argmax.clamp(min=0)
    (grad,) = upcast(torch.where(argmax < 0, 0, grad_output))
    total = grad.new_zeros(count * channels * height * width)
    total.index_add_(0, place.flatten(), grad.flatten())
    grad_input += total.view(grad_input.shape)


def _check(rois: Tensor) -> None:
    if rois.dim() != 2 or rois.shape[1] != 5:
        raise ValueError(
            f'roi_pool: rois must be (R, 5): image index, x1, y1, x2, y2; got {tuple(rois.shape)}'
        )


def _bins(start: Tensor, step: Tensor, count: int, size: int) -> list[tuple[int, int]]:
    """First pixel of each bin along an axis and the pixel behind its last, clipped to the map.

    Bins may overlap.

    Args:
        start: where the RoI begins, in pixels of the map.
        step: size of a bin.
        count: number of bins.
        size: of the map.
    """
    bins = torch.arange(count).to(start)
    low = torch.floor(bins * step + start).clamp(0, size).long()
    high = torch.ceil((bins + 1) * step + start).clamp(0, size).long()
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _pool(
    image: Tensor, y_bins: list[tuple[int, int]], x_bins: list[tuple[int, int]]
) -> tuple[Tensor, Tensor]:
    """Maximum of each bin of ``image`` (C, H, W) and its flat index.

    The maximum is taken along x, then along y, so that the first of equal pixels wins.
    """
    top = min(low for low, _ in y_bins)
    bottom = max(high for _, high in y_bins)
    if bottom <= top:
        value = image.new_zeros(image.shape[0], len(y_bins), len(x_bins))
        return value, torch.full_like(value, -1, dtype=torch.long)
    row_value, column = _max_along(image[:, top:bottom], 2, x_bins)
    value, row = _max_along(row_value, 1, [(low - top, high - top) for low, high in y_bins])
    place = (row + top) * image.shape[2] + column.gather(1, row)
    is_empty = torch.isneginf(value)
    return value.masked_fill(is_empty, 0), place.masked_fill(is_empty, -1)


def _max_along(x: Tensor, dim: int, bins: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    """Maximum of each bin along ``dim`` and its position there; -inf and 0 for an empty bin."""
    values = []
    places = []
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
