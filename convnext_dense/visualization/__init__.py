"""Drawing of results, and the hooks that draw them during evaluation."""

from convnext_dense.visualization.hooks import DetectionPictureHook, SegmentationPictureHook

__all__ = ['DetectionPictureHook', 'SegmentationPictureHook']
