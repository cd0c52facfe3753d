"""Metrics, and the scores of a test run."""

from convnext_dense.evaluation.metrics import TopKAccuracy

__all__ = ['TopKAccuracy']
