"""Non-maximum suppression: ``nms``, ``softnms`` and ``nms_match`` of mmcv's extension.

Boxes are xyxy, B of them. Equal scores keep their order (a stable sort). mmcv calls torch's unstable sort, which agrees
with it wherever torch's CPU sort is stable in fact.

Source: open-mmlab/mmcv mmcv/ops/csrc/pytorch/cpu/nms.cpp @ 62dd2a8ea92c300ae9e619d9820398eddf82abab
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import nms as torchvision_nms

from convnext_dense.mmcv_ops.precision import as_float32, upcast

_DECAYS = {0: 'naive', 1: 'linear', 2: 'gaussian'}


@torch.no_grad()
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices (int64) of the boxes kept, by falling score: each suppresses those of IoU > ``iou_threshold`` with it.

    Args:
        boxes: (B, 4).
        scores: (B,).
        iou_threshold: rounded to float32, as in mmcv.
        offset: 0, or 1 where a box of pixels x1..x2 is x2 - x1 + 1 wide.
    """
    _check(boxes, 4, offset, scores)
    if boxes.numel() == 0:
        return boxes.new_empty(0, dtype=torch.long)
    boxes, scores = upcast(boxes, scores)
    threshold = as_float32(iou_threshold)
    if offset == 0:
        return torchvision_nms(boxes, scores, threshold)
    groups = _groups(boxes.cpu(), scores.cpu(), offset, lambda iou: iou > threshold)
    return torch.stack([group[0] for group in groups]).to(boxes.device)


@torch.no_grad()
def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """For each box kept, its index and those it suppressed, by falling score.

    A box suppresses those of IoU >= ``iou_threshold`` with it, where ``nms`` asks for more than the threshold.

    Args:
        dets: (B, 5), boxes and scores.
        iou_threshold: rounded to float32, as in mmcv.
    """
    _check(dets, 5)
    (dets,) = upcast(dets.cpu())
    threshold = as_float32(iou_threshold)
    return [
        group.tolist()
        for group in _groups(dets[:, :4], dets[:, 4], 0, lambda iou: iou >= threshold)
    ]


@torch.no_grad()
def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS: pick the best box, decay the scores of the others by their IoU with it, drop the low ones, repeat.

    The decay is 0 (naive) or 1 - IoU (linear) from IoU >= ``iou_threshold`` on, or exp(-IoU^2 / sigma) (gaussian). A
    dropped box is replaced by the last of the list, as in mmcv: that decides which of two equal scores comes first.

    Args:
        boxes: (B, 4).
        scores: (B,).
        dets: (B, 5), written in place: the K picked boxes and their decayed scores in its first K rows.
        min_score: a box falls out when a decay leaves it below this.
        method: 0 naive, 1 linear, 2 gaussian.
        offset: 0 or 1, see ``nms``.

    Returns:
        (K,) int64: the index of each picked box.

    Source: Bodla et al., "Soft-NMS", section 3; ``softnms_cpu``.
    """
    _check(boxes, 4, offset, scores)
    if method not in _DECAYS:
        raise ValueError(f'softnms: method must be one of {_DECAYS}, got {method!r}')
    index = torch.arange(len(boxes))
    boxes, scores = upcast(boxes.cpu(), scores.cpu())
    rows = torch.cat((boxes, scores[:, None]), dim=1)
    iou_threshold, sigma, min_score = (
        as_float32(value) for value in (iou_threshold, sigma, min_score)
    )
    picked = 0
    while picked < len(rows):
        _swap(rows, index, picked, picked + _first_max(rows[picked:, 4]))
        rest = rows[picked + 1 :]
        iou = _iou(rows[picked], rest, offset)
        rest[:, 4] *= _decay(iou, iou_threshold, sigma, method)
        dropped = rest[:, 4] < min_score
        picked += 1
        if dropped.any():
            left = torch.cat((torch.arange(picked), picked + _left(dropped)))
            rows, index = rows[left], index[left]
    dets[: len(rows)] = rows.to(dets)
    return index.to(dets.device)


def _check(boxes: Tensor, columns: int, offset: int = 0, scores: Tensor | None = None) -> None:
    if boxes.dim() != 2 or boxes.shape[1] != columns:
        raise ValueError(f'nms: boxes must be (B, {columns}), got {tuple(boxes.shape)}')
    if scores is not None and scores.shape != boxes.shape[:1]:
        raise ValueError(
            f'nms: scores must be ({len(boxes)},), one for each box, got {tuple(scores.shape)}'
        )
    if offset not in (0, 1):
        raise ValueError(f'nms: offset must be 0 or 1, got {offset!r}')


def _iou(box: Tensor, others: Tensor, offset: int) -> Tensor:
    """IoU of one box (4,) with others (B, 4), in mmcv's order of operations."""
    low, high = torch.maximum(box[:2], others[:, :2]), torch.minimum(box[2:4], others[:, 2:4])
    inter = (high - low + offset).clamp(min=0).prod(dim=1)
    area, areas = (
        (sides[..., 2:4] - sides[..., :2] + offset).prod(dim=-1) for sides in (box, others)
    )
    return inter / (area + areas - inter)


def _groups(
    boxes: Tensor, scores: Tensor, offset: int, suppresses: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    """Indices of each kept box and of those it suppressed, on the CPU."""
    rest = torch.sort(scores, descending=True, stable=True)[1]
    groups = []
    while len(rest):
        best, rest = rest[:1], rest[1:]
        hit = suppresses(_iou(boxes[best[0]], boxes[rest], offset))
        groups.append(torch.cat((best, rest[hit])))
        rest = rest[~hit]
    return groups


def _first_max(scores: Tensor) -> int:
    """The first of the largest scores; as in mmcv a NaN at the head stays there, and any other NaN is never largest."""
    if scores[0].isnan():
        return 0
    return int(scores.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf).argmax())


def _swap(rows: Tensor, index: Tensor, i: int, j: int) -> None:
    if i != j:
        for values in (rows, index):
            values[[i, j]] = values[[j, i]]


def _decay(iou: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    if _DECAYS[method] == 'gaussian':
        return torch.exp(-(iou * iou) / sigma)
    decayed = torch.zeros_like(iou) if _DECAYS[method] == 'naive' else 1 - iou
    return torch.where(iou >= iou_threshold, decayed, torch.ones_like(iou))


def _left(dropped: Tensor) -> Tensor:
    """The positions left, in mmcv's order: each dropped place is taken by the last box that is still there."""
    count = int((~dropped).sum())
    order = torch.arange(count)
    holes = dropped[:count].nonzero()[:, 0]
    order[holes] = (~dropped[count:]).nonzero()[:, 0].flip(0) + count
    return order
