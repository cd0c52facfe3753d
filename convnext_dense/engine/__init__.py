"""Training: learning-rate decay, averaged weights, seeds, accuracy, what the log says, progress, pictures."""

from convnext_dense.engine.averaging import EMAHook, PlainAndEMAValLoop
from convnext_dense.engine.checkpoint_hook import CheckpointHook
from convnext_dense.engine.hooks import LearningRateRangeHook
from convnext_dense.engine.layer_decay import LayerDecayOptimWrapperConstructor
from convnext_dense.engine.loops import WholeStepsTrainLoop
from convnext_dense.engine.metrics import TopKAccuracy
from convnext_dense.engine.pictures import DetectionPictureHook, SegmentationPictureHook
from convnext_dense.engine.progress import ProgressHook
from convnext_dense.engine.seeds import IterationSeedHook

__all__ = [
    'CheckpointHook',
    'DetectionPictureHook',
    'EMAHook',
    'IterationSeedHook',
    'LayerDecayOptimWrapperConstructor',
    'LearningRateRangeHook',
    'PlainAndEMAValLoop',
    'ProgressHook',
    'SegmentationPictureHook',
    'TopKAccuracy',
    'WholeStepsTrainLoop',
]
