"""Metrics, and the scores of a test run."""

from convnext_dense.evaluation.accuracy import TopKAccuracy

__all__ = ['TopKAccuracy']
