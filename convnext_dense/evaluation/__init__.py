"""Metrics, and the scores of a test run: measured, written as JSON, printed as tables."""

from convnext_dense.evaluation.accuracy import TopKAccuracy
from convnext_dense.evaluation.class_iou import ClassIoU

__all__ = ['ClassIoU', 'TopKAccuracy']
