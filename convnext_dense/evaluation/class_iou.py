"""Intersection over union of each class of a segmentor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from convnext_dense.registry import METRICS


@METRICS.register_module()
class ClassIoU(BaseMetric):
    """IoU and accuracy of each class, in percent, over the pixels of all images.

    ::

        IoU_k = 100 * |P_k and T_k| / |P_k or T_k|        P_k: pixels predicted as class k
        Acc_k = 100 * |P_k and T_k| / |T_k|               T_k: pixels whose true class is k

    mmseg's ``IoUMetric`` gives the means of these numbers; this metric, run beside it, gives the
    numbers themselves. It adds nothing to the run's metrics (ADE20K would fill the log with 300
    numbers); they are in ``scores`` after the evaluation.

    Args:
        ignore_index: label of the pixels that do not count.
        collect_device: where the results of all ranks are gathered, 'cpu' or 'gpu'.

    Attributes:
        scores: {class: {'IoU': ..., 'Acc': ...}} on rank 0; None where the divisor is 0.
    """

    default_prefix = ''

    def __init__(self, ignore_index: int = 255, collect_device: str = 'cpu'):
        super().__init__(collect_device)
        self.ignore_index = ignore_index
        self.scores: dict[str, dict[str, float | None]] = {}

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        num_classes = len(self.dataset_meta['classes'])
        for sample in data_samples:
            prediction = sample['pred_sem_seg']['data'].squeeze()  # (H, W)
            truth = sample['gt_sem_seg']['data'].squeeze().to(prediction)
            counted = truth != self.ignore_index
            areas = count_areas(prediction[counted], truth[counted], num_classes)
            self.results.append(areas.cpu())

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        self.scores = {}
        intersection, predicted, true = torch.stack(results).sum(dim=0).tolist()
        for k, name in enumerate(self.dataset_meta['classes']):
            union = predicted[k] + true[k] - intersection[k]
            self.scores[name] = {
                'IoU': _percentage(intersection[k], union),
                'Acc': _percentage(intersection[k], true[k]),
            }
        return {}


def count_areas(prediction: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Pixels of each class: right ones, predicted ones, true ones; int64 of shape (3, K).

    Args:
        prediction: class indices of any shape.
        truth: class indices of the same shape.
        num_classes: K.
    """
    right = prediction[prediction == truth]
    areas = [
        torch.bincount(labels.flatten(), minlength=num_classes)[:num_classes]
        for labels in (right, prediction, truth)
    ]
    return torch.stack(areas)


def _percentage(part: int, whole: int) -> float | None:
    if whole == 0:
        return None
    return 100 * part / whole
