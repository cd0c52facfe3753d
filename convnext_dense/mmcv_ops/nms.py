"""Non-maximum suppression of mmcv's extension: ``nms``, ``softnms`` and ``nms_match``.

B boxes are given as xyxy. Boxes with equal scores keep their order (a stable sort). mmcv calls
torch's unstable sort; the results agree wherever torch's CPU sort happens to be stable.

Source: open-mmlab/mmcv mmcv/ops/csrc/pytorch/cpu/nms.cpp @ 62dd2a8ea92c300ae9e619d9820398eddf82abab
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.ops import nms as torchvision_nms

from convnext_dense.mmcv_ops.precision import as_float32, upcast

_NAIVE = 0
_LINEAR = 1
_GAUSSIAN = 2


@torch.no_grad()
def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Keep the best box, drop the boxes with IoU > ``iou_threshold`` with it, and repeat.

    Args:
        boxes: (B, 4).
        scores: (B,).
        iou_threshold: rounded to float32, as in mmcv.
        offset: 0, or 1 where a box that covers the pixels x1..x2 is x2 - x1 + 1 wide.

    Returns:
        (K,) int64: indices of the boxes kept, by falling score.
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
    """Like :func:`nms`, but return the boxes that each kept box suppressed, too.

    A box suppresses boxes with IoU >= ``iou_threshold`` here, not with a larger IoU only.

    Args:
        dets: (B, 5), boxes and scores.
        iou_threshold: rounded to float32, as in mmcv.

    Returns:
        For each kept box, by falling score, its index and those of the boxes it suppressed.
    """
    _check(dets, 5)
    (dets,) = upcast(dets.cpu())
    threshold = as_float32(iou_threshold)
    groups = _groups(dets[:, :4], dets[:, 4], 0, lambda iou: iou >= threshold)
    return [group.tolist() for group in groups]


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
    """Soft-NMS: pick the best box, decay the scores of the others, drop low ones, and repeat.

    The score of a box with a certain IoU with the picked box is multiplied by ::

        naive       0 if IoU >= iou_threshold, else 1
        linear      1 - IoU if IoU >= iou_threshold, else 1
        gaussian    exp(-IoU^2 / sigma)

    The place of a dropped box is taken by the last box of the list, as in mmcv; this decides which
    of two boxes with equal scores comes first.

    Args:
        boxes: (B, 4).
        scores: (B,).
        dets: (B, 5); the K picked boxes and their decayed scores are written to its first K rows.
        iou_threshold: see above; rounded to float32, as in mmcv.
        sigma: see above; likewise.
        min_score: a box whose score is decayed below this is dropped; likewise.
        method: 0 naive, 1 linear, 2 gaussian.
        offset: 0 or 1, see :func:`nms`.

    Returns:
        (K,) int64: the index of each picked box.

    Source: Bodla et al., "Soft-NMS", section 3; ``softnms_cpu``.
    """
    _check(boxes, 4, offset, scores)
    if method not in (_NAIVE, _LINEAR, _GAUSSIAN):
        raise ValueError(
            f'softnms: method must be 0 (naive), 1 (linear) or 2 (gaussian), got {method!r}'
        )
    index = torch.arange(len(boxes))
    boxes, scores = upcast(boxes.cpu(), scores.cpu())
    rows = torch.cat((boxes, scores[:, None]), dim=1)  # (B, 5)
    iou_threshold = as_float32(iou_threshold)
    sigma = as_float32(sigma)
    min_score = as_float32(min_score)
    picked = 0
    while picked < len(rows):
        best = picked + _first_max(rows[picked:, 4])
        _swap(rows, picked, best)
        _swap(index, picked, best)
        rest = rows[picked + 1 :]
        iou = _iou(rows[picked], rest, offset)
        rest[:, 4] *= _decay(iou, iou_threshold, sigma, method)
        is_dropped = rest[:, 4] < min_score
        picked += 1
        if is_dropped.any():
            kept = torch.cat((torch.arange(picked), picked + _close_gaps(is_dropped)))
            rows = rows[kept]
            index = index[kept]
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
    """IoU of a box (4,) with others (B, 4), in mmcv's order of operations."""
    low = torch.maximum(box[:2], others[:, :2])
    high = torch.minimum(box[2:4], others[:, 2:4])
    intersection = (high - low + offset).clamp(min=0).prod(dim=1)
    union = _area(box, offset) + _area(others, offset) - intersection
    return intersection / union


def _area(boxes: Tensor, offset: int) -> Tensor:
    return (boxes[..., 2:4] - boxes[..., :2] + offset).prod(dim=-1)


def _groups(
    boxes: Tensor, scores: Tensor, offset: int, suppresses: Callable[[Tensor], Tensor]
) -> list[Tensor]:
    """The index of each kept box and those of the boxes it suppressed.

    Args:
        boxes: (B, 4) on the CPU.
        scores: (B,) on the CPU.
        offset: 0 or 1.
        suppresses: whether a box is suppressed, from its IoU with the kept box.
    """
    rest = torch.sort(scores, descending=True, stable=True)[1]
    groups = []
    while len(rest):
        best = rest[:1]
        rest = rest[1:]
        is_suppressed = suppresses(_iou(boxes[best[0]], boxes[rest], offset))
        groups.append(torch.cat((best, rest[is_suppressed])))
        rest = rest[~is_suppressed]
    return groups


def _first_max(scores: Tensor) -> int:
    """Index of the first of the largest scores.

    As in mmcv, a NaN in the first place counts as the largest, any other NaN as the smallest.
    """
    if scores[0].isnan():
        return 0
    return int(scores.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf).argmax())


def _swap(values: Tensor, i: int, j: int) -> None:
    if i != j:
        values[[i, j]] = values[[j, i]]


def _decay(iou: Tensor, iou_threshold: float, sigma: float, method: int) -> Tensor:
    if method == _GAUSSIAN:
        return torch.exp(-(iou * iou) / sigma)
    decay = 1 - iou
    if method == _NAIVE:
        decay = torch.zeros_like(iou)
    return torch.where(iou >= iou_threshold, decay, torch.ones_like(iou))


def _close_gaps(is_dropped: Tensor) -> Tensor:
    """Positions that remain, in mmcv's order: the last box left takes each dropped place."""
    count = int((~is_dropped).sum())
    order = torch.arange(count)
    gaps = is_dropped[:count].nonzero()[:, 0]
    order[gaps] = (~is_dropped[count:]).nonzero()[:, 0].flip(0) + count
    return order
