"""Top-k accuracy of a classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric

from convnext_dense.registry import METRICS


@METRICS.register_module()
class TopKAccuracy(BaseMetric):
    """Percentage of images whose label is among the k classes with the highest scores.

    The results are named ``top1``, ``top5``, ... Each prediction must hold ``pred_scores`` of shape
    (K,) and ``gt_label``. A k larger than the number of classes K counts all classes.

    Args:
        topk: the values of k, each 1 or more.
        collect_device: where the results of all ranks are gathered, 'cpu' or 'gpu'.

    Raises:
        ValueError: ``topk`` is empty or holds a number below 1; a prediction has no ``gt_label``.
    """

    default_prefix = ''

    def __init__(self, topk: Sequence[int] = (1, 5), collect_device: str = 'cpu'):
        super().__init__(collect_device, prefix=None)
        if not topk or min(topk) < 1:
            raise ValueError(f'topk must hold numbers of 1 or more; got {topk!r}')
        self.topk = tuple(topk)

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        unlabeled = [i for i, sample in enumerate(data_samples) if 'gt_label' not in sample]
        if unlabeled:
            raise ValueError(
                f'images {unlabeled[:3]} of the batch have no gt_label: accuracy needs labels'
            )
        scores = torch.stack([sample['pred_scores'] for sample in data_samples])  # (N, K)
        labels = torch.stack(
            [torch.as_tensor(sample['gt_label'], device=scores.device) for sample in data_samples]
        )  # (N,)
        largest_k = min(max(self.topk), scores.shape[1])
        # A NaN is ranked as the largest score, so a diverged network does not look right.
        is_label = scores.topk(largest_k).indices == labels[:, None]  # (N, largest k)
        hits = torch.stack([is_label[:, :k].any(dim=1) for k in self.topk], dim=1)
        self.results += hits.tolist()  # a single copy from the device

    def compute_metrics(self, results: list[list[bool]]) -> dict[str, float]:
        means = torch.tensor(results, dtype=torch.float64).mean(dim=0) * 100
        return {f'top{k}': mean.item() for k, mean in zip(self.topk, means, strict=True)}
