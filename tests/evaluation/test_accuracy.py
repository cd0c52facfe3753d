"""Top-k accuracy: against numbers counted by hand, and against timm."""

import pytest
import torch
from timm.utils import accuracy

from convnext_dense.evaluation import TopKAccuracy
from convnext_dense.registry import METRICS


def evaluate(metric, scores, labels, batch=2):
    samples = []
    for pred_scores, gt_label in zip(scores, labels, strict=True):
        samples.append(dict(pred_scores=pred_scores, gt_label=gt_label))
    for i in range(0, len(samples), batch):
        metric.process(None, samples[i : i + batch])
    return metric.evaluate(len(samples))


def test_counted_by_hand():
    scores = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.5, 0.1], [0.3, 0.4, 0.3001]])
    labels = torch.tensor([0, 1, 1, 0])  # first, second, first, third
    metric = METRICS.build(dict(type='convnext_dense.TopKAccuracy', topk=(1, 2, 5)))
    assert evaluate(metric, scores, labels) == {'top1': 50.0, 'top2': 75.0, 'top5': 100.0}


def test_equals_timm():
    scores = torch.randn(64, 20)
    labels = torch.randint(0, 20, (64,))
    result = evaluate(TopKAccuracy(), scores, labels, batch=10)
    expected = [value.item() for value in accuracy(scores, labels, topk=(1, 5))]
    assert list(result.values()) == pytest.approx(expected)


def test_nan_scores_are_not_right():
    scores = torch.full((20, 10), float('nan'))
    assert evaluate(TopKAccuracy((1,)), scores, torch.arange(20) % 10)['top1'] < 20


def test_topk_must_not_be_empty():
    with pytest.raises(ValueError, match='topk'):
        TopKAccuracy(())


def test_image_without_label_raises():
    samples = [dict(pred_scores=torch.ones(2), gt_label=1), dict(pred_scores=torch.ones(2))]
    with pytest.raises(ValueError, match=r'images \[1\] of the batch have no gt_label'):
        TopKAccuracy().process(None, samples)
