"""Test-time augmentation of a detector, with masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import BaseDataElement, InstanceData
from torch import Tensor, nn
from torchvision.ops import batched_nms, box_iou, masks_to_boxes

from convnext_dense.registry import MODELS

_FLIP_DIMS = {'horizontal': (-1,), 'vertical': (-2,), 'diagonal': (-2, -1)}
_KEYS = ('ori_shape', 'flip', 'flip_direction')


@MODELS.register_module()
class DetTTAModel(BaseTTAModel):
    """Predicts several views of an image (sizes, flips) and merges their boxes and masks.

    It works with any instance model of mmdet. The boxes of all views are flipped back and pass
    through one non-maximum suppression per class, as in mmdet. Masks are merged by a vote, since
    detectors return binary masks of the original image's size and no probabilities: for each
    detection kept, every view contributes its detection of the same class with the largest IoU to
    the kept box, if that IoU is at least ``iou_threshold``. A pixel is set where ::

        sum of the scores of the masks that contain it > 0.5 * sum of all scores

    The kept detection is the vote of its own view. So a single view, or equal views, change
    nothing, and no vote comes from an object that suppression would call a different one. Models
    without boxes (SOLO and SOLOv2 return zeros) get the boxes around their masks.

    Args:
        module: the detector, or its config.
        tta_cfg: mmdet's: ``nms=dict(type='nms', iou_threshold=...)``, and ``max_per_img``, the
            number of detections kept.
        **kwargs: mmengine's.

    Raises:
        ValueError: ``tta_cfg`` lacks one of these or names another suppression; a view does not say
            how it was flipped; some views have masks and others do not.

    Source: open-mmlab/mmdetection mmdet/models/test_time_augs/det_tta.py @ v3.3.0.
    Differs: mmdet's refuses masks.
    """

    def __init__(self, module: nn.Module | dict, tta_cfg: dict, **kwargs: Any):
        super().__init__(module=module, **kwargs)
        nms = tta_cfg.get('nms') or {}
        if nms.get('type') != 'nms' or 'iou_threshold' not in nms or 'max_per_img' not in tta_cfg:
            raise ValueError(
                "tta_cfg must be dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100), "
                f'with any two numbers; got {tta_cfg}'
            )
        self.iou_threshold = nms['iou_threshold']
        self.max_per_img = tta_cfg['max_per_img']

    def merge_preds(
        self, data_samples_list: Sequence[Sequence[BaseDataElement]]
    ) -> list[BaseDataElement]:
        """Merge the views of each image.

        Args:
            data_samples_list: for each image, the sample of each view.

        Returns:
            A sample for each image; its ``pred_instances`` are in pixels of the original image.
        """
        return [self._merge(views) for views in data_samples_list]

    @torch.no_grad()
    def _merge(self, views: Sequence[BaseDataElement]) -> BaseDataElement:
        has_masks = ['masks' in view.pred_instances for view in views]
        if any(has_masks) and not all(has_masks):
            raise ValueError(
                'some views of an image have masks and others do not: every view must predict the '
                'same'
            )
        found = [_flip_back(view) for view in views]
        boxes = torch.cat([instances.bboxes for instances in found])
        scores = torch.cat([instances.scores for instances in found])
        labels = torch.cat([instances.labels for instances in found])
        kept = batched_nms(boxes.float(), scores.float(), labels, self.iou_threshold)
        kept = kept[: self.max_per_img]
        merged = InstanceData(bboxes=boxes[kept], scores=scores[kept], labels=labels[kept])
        if has_masks[0]:
            merged.masks = self._vote(found, merged, kept)
        sample = views[0].new()
        sample.pred_instances = merged
        return sample

    def _vote(self, found: Sequence[InstanceData], merged: InstanceData, kept: Tensor) -> Tensor:
        """The masks (n, H, W) bool of the n merged detections.

        Args:
            found: the detections of each view.
            merged: the n detections kept.
            kept: (n,) their indices among the detections of all views, one view after the other.
        """
        # For each view, the index of its vote for each merged detection, -1 = no vote.
        votes = torch.stack(
            [_find_best(instances, merged, self.iou_threshold) for instances in found]
        )  # (views, n)
        # A kept detection votes for itself.
        counts = torch.tensor([len(instances) for instances in found])
        view_of = torch.repeat_interleave(torch.arange(len(found)), counts)
        first_of_view = counts.cumsum(0) - counts
        for k, source in enumerate(kept.tolist()):
            view = view_of[source]
            votes[view, k] = source - first_of_view[view]

        height_width = found[0].masks.shape[1:]
        masks = found[0].masks.new_zeros((len(merged), *height_width))
        for k in range(len(merged)):
            voters = []
            for instances, index in zip(found, votes[:, k].tolist(), strict=True):
                if index >= 0:
                    voters.append(instances[index])
            scores = torch.cat([voter.scores for voter in voters]).float()  # (v,)
            ballots = torch.cat([voter.masks for voter in voters]).float()  # (v, H, W)
            masks[k] = torch.einsum('v,vhw->hw', scores, ballots) > 0.5 * scores.sum()
        return masks


def _flip_back(view: BaseDataElement) -> InstanceData:
    """Boxes (xyxy) and masks of a view, flipped to the original image, whose size they have."""
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
    """Boxes (n, 4), xyxy, around masks (n, H, W); zeros around an empty mask."""
    boxes = torch.zeros(len(masks), 4, device=masks.device)
    is_filled = masks.flatten(1).any(1)
    # torchvision's boxes end at the last pixel, mmdet's behind it.
    boxes[is_filled] = masks_to_boxes(masks[is_filled]) + boxes.new_tensor((0, 0, 1, 1))
    return boxes


def _flip_boxes(boxes: Tensor, shape: tuple[int, int], dims: tuple[int, ...]) -> Tensor:
    """Mirror boxes (n, 4), xyxy, in an image of ``shape`` (H, W): x for dim -1, y for dim -2."""
    height, width = shape
    x1, y1, x2, y2 = boxes.unbind(-1)
    if -1 in dims:
        x1, x2 = width - x2, width - x1
    if -2 in dims:
        y1, y2 = height - y2, height - y1
    return torch.stack((x1, y1, x2, y2), -1)


def _find_best(found: InstanceData, merged: InstanceData, iou_threshold: float) -> Tensor:
    """For each merged detection, the view's detection of the same class with the largest IoU.

    Returns:
        (n,) indices; -1 where the largest IoU is below ``iou_threshold``.
    """
    if len(found) == 0:
        return torch.full((len(merged),), -1, device=merged.bboxes.device)
    iou = box_iou(merged.bboxes.float(), found.bboxes.float())  # (n, detections of the view)
    is_other_class = merged.labels[:, None] != found.labels
    best_iou, index = iou.masked_fill(is_other_class, -1.0).max(dim=1)
    return torch.where(best_iou >= iou_threshold, index, -1)
