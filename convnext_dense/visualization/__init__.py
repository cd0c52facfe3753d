"""Draws results, and the hooks that do so during evaluation."""

from convnext_dense.visualization.hooks import DetectionPictureHook, SegmentationPictureHook

__all__ = ['DetectionPictureHook', 'SegmentationPictureHook']
