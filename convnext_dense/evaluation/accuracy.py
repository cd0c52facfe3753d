"""Top-k accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric

from convnext_dense.registry import METRICS


@METRICS.register_module()
class TopKAccuracy(BaseMetric):
    """``top1``, ``top5``, ...: per cent of the images whose label is among the k classes of the highest scores.

    Each prediction must hold ``pred_scores`` (K,) and ``gt_label``. k is cut to the number of classes.
    """

    default_prefix = ''

    def __init__(self, topk: Sequence[int] = (1, 5), collect_device: str = 'cpu'):
        super().__init__(collect_device, prefix=None)
        if not topk or min(topk) < 1:
            raise ValueError(f'topk must hold numbers of 1 or more; got {topk!r}')
        self.topk = tuple(topk)

    def process(self, data_batch, data_samples: Sequence[dict]) -> None:
        if missing := [i for i, sample in enumerate(data_samples) if 'gt_label' not in sample]:
            raise ValueError(
                f'images {missing[:3]} of the batch have no gt_label: accuracy needs labels'
            )
        scores = torch.stack([sample['pred_scores'] for sample in data_samples])
        labels = torch.stack(
            [torch.as_tensor(sample['gt_label'], device=scores.device) for sample in data_samples]
        )
        hits = (
            scores.topk(min(max(self.topk), scores.shape[1])).indices == labels[:, None]
        )  # (N, largest k)
        self.results += torch.stack([hits[:, :k].any(dim=1) for k in self.topk], dim=1).tolist()

    def compute_metrics(self, results: list[list[bool]]) -> dict[str, float]:
        means = torch.tensor(results, dtype=torch.float64).mean(dim=0) * 100
        return {f'top{k}': mean.item() for k, mean in zip(self.topk, means)}
