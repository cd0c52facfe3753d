"""Training: layer-wise learning-rate decay, what the log says about learning rates, progress, pictures."""
from convnext_dense.engine.hooks import LearningRateRangeHook
from convnext_dense.engine.layer_decay import LayerDecayOptimWrapperConstructor
from convnext_dense.engine.pictures import SegmentationPictureHook
from convnext_dense.engine.progress import ProgressHook

__all__ = ['LayerDecayOptimWrapperConstructor', 'LearningRateRangeHook', 'ProgressHook', 'SegmentationPictureHook']
