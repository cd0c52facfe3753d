"""Test-time augmentation of a detector, with masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor
from torchvision.ops import batched_nms, box_iou, masks_to_boxes

from convnext_dense.registry import MODELS

_FLIP_DIMS = {'horizontal': (-1,), 'vertical': (-2,), 'diagonal': (-2, -1)}
_KEYS = ('ori_shape', 'flip', 'flip_direction')


@MODELS.register_module()
class DetTTAModel(BaseTTAModel):
    """Predicts views of an image (sizes, flips) and merges their boxes and masks; any instance model of mmdet's fits.

    Boxes: those of all views, flipped back, through one non-maximum suppression per class: mmdet's own rule. A mask
    head's probabilities are gone by then (detectors return binary masks of the original image's size), so a kept
    detection's mask is voted: each view gives its detection of the same class with the largest IoU to the kept box,
    if that is at least ``iou_threshold``, and a pixel is set where ::

        sum of the scores of the masks that hold it > 0.5 * sum of the scores

    The kept detection itself votes for its view. So one view alone, or equal views, change nothing, and no vote comes
    from an object that suppression would not call the same one. Models without boxes (SOLO, SOLOv2: all zero) get those
    of their masks.

    Args:
        module: the detector, or its config.
        tta_cfg: mmdet's: ``nms=dict(type='nms', iou_threshold=...)``, and ``max_per_img``, the detections kept.

    Raises:
        ValueError: ``tta_cfg`` lacks one of these or names another suppression; a view does not say how it was
            flipped; some views have masks and others do not.

    Source: open-mmlab/mmdetection mmdet/models/test_time_augs/det_tta.py @ v3.3.0, which refuses masks.
    """

    def __init__(self, module, tta_cfg: dict, **kwargs):
        super().__init__(module=module, **kwargs)
        nms = tta_cfg.get('nms') or {}
        if nms.get('type') != 'nms' or 'iou_threshold' not in nms or 'max_per_img' not in tta_cfg:
            raise ValueError(
                "tta_cfg must be dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100) with any "
                f'two numbers; got {tta_cfg}'
            )
        self.iou_threshold, self.max_per_img = nms['iou_threshold'], tta_cfg['max_per_img']

    def merge_preds(
        self, data_samples_list: Sequence[Sequence[BaseDataElement]]
    ) -> list[BaseDataElement]:
        """One sample for each image from its views' samples, ``pred_instances`` merged, in the original's pixels."""
        return [self._merge(views) for views in data_samples_list]

    @torch.no_grad()
    def _merge(self, views: Sequence[BaseDataElement]) -> BaseDataElement:
        if len({'masks' in view.pred_instances for view in views}) > 1:
            raise ValueError(
                'some views of an image have masks and others do not: every view must predict the same'
            )
        found = [_flip_back(view) for view in views]
        boxes, scores, labels = (
            torch.cat([one[name] for one in found]) for name in ('bboxes', 'scores', 'labels')
        )
        kept = batched_nms(boxes.float(), scores.float(), labels, self.iou_threshold)[
            : self.max_per_img
        ]
        merged = InstanceData(bboxes=boxes[kept], scores=scores[kept], labels=labels[kept])
        if 'masks' in found[0]:
            numbers = [(i, j) for i, one in enumerate(found) for j in range(len(one))]
            merged.masks = self._vote(found, merged, [numbers[k] for k in kept.tolist()])
        sample = views[0].new()
        sample.pred_instances = merged
        return sample

    def _vote(
        self, found: Sequence[InstanceData], merged: InstanceData, sources: list[tuple[int, int]]
    ) -> Tensor:
        """(n, H, W) bool: the voted masks of the n merged detections; ``sources``: the view and number of each."""
        masks = found[0].masks.new_zeros((len(merged), *found[0].masks.shape[1:]))
        best = [_find_best(one, merged, self.iou_threshold) for one in found]
        for k, (view, number) in enumerate(sources):
            best[view][k] = number
            voters = [(one, index[k]) for one, index in zip(found, best) if index[k] >= 0]
            scores = torch.stack([one.scores[j] for one, j in voters]).float()
            votes = torch.stack([one.masks[j] for one, j in voters]).float()
            masks[k] = torch.einsum('v,vhw->hw', scores, votes) > 0.5 * scores.sum()
        return masks


def _flip_back(view: BaseDataElement) -> InstanceData:
    """The view's boxes (xyxy) and masks as seen in the original image, whose size they already have."""
    missing = [key for key in _KEYS if key not in view.metainfo]
    if missing:
        raise ValueError(
            f'a view does not hold {missing}: in tta_pipeline, PackDetInputs needs meta_keys with '
            f'{", ".join(_KEYS)}, and RandomFlip must come before it; see configs/_base_/coco.py'
        )
    pred = view.pred_instances
    found = InstanceData(bboxes=pred.bboxes, scores=pred.scores, labels=pred.labels)
    if 'masks' in pred:
        found.masks = torch.as_tensor(pred.masks, device=pred.bboxes.device).bool()
        if not pred.bboxes.any():
            found.bboxes = _box_masks(found.masks).to(pred.bboxes)
    if view.flip:
        dims = _FLIP_DIMS[view.flip_direction]
        found.bboxes = _flip_boxes(found.bboxes, view.ori_shape[:2], dims)
        if 'masks' in found:
            found.masks = found.masks.flip(dims)
    return found


def _box_masks(masks: Tensor) -> Tensor:
    """(n, 4) xyxy: the boxes around the masks, zeros around an empty one."""
    boxes, filled = torch.zeros(len(masks), 4, device=masks.device), masks.flatten(1).any(1)
    boxes[filled] = masks_to_boxes(masks[filled]) + boxes.new_tensor(
        (0, 0, 1, 1)
    )  # theirs end at the last pixel
    return boxes


def _flip_boxes(boxes: Tensor, shape: tuple[int, int], dims: tuple[int, ...]) -> Tensor:
    height, width = shape
    x1, y1, x2, y2 = boxes.unbind(-1)
    if -1 in dims:
        x1, x2 = width - x2, width - x1
    if -2 in dims:
        y1, y2 = height - y2, height - y1
    return torch.stack((x1, y1, x2, y2), -1)


def _find_best(found: InstanceData, merged: InstanceData, iou_threshold: float) -> list[int]:
    """For each merged detection, the index of the view's own that overlaps it most; -1 where none is the same one."""
    if not len(found):
        return [-1] * len(merged)
    iou = box_iou(merged.bboxes.float(), found.bboxes.float())
    value, index = iou.masked_fill(merged.labels[:, None] != found.labels, -1.0).max(1)
    return torch.where(value >= iou_threshold, index, -1).tolist()
