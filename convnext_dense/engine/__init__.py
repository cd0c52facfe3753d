"""Training: learning-rate decay, averaged weights, seeds, checkpoints, logging, progress."""

from convnext_dense.engine.averaging import EMAHook, PlainAndEMAValLoop
from convnext_dense.engine.checkpoint_hook import CheckpointHook
from convnext_dense.engine.layer_decay import LayerDecayOptimWrapperConstructor
from convnext_dense.engine.loops import WholeStepsTrainLoop
from convnext_dense.engine.lr_range import LearningRateRangeHook
from convnext_dense.engine.progress import ProgressHook
from convnext_dense.engine.seeds import IterationSeedHook

__all__ = [
    'CheckpointHook',
    'EMAHook',
    'IterationSeedHook',
    'LayerDecayOptimWrapperConstructor',
    'LearningRateRangeHook',
    'PlainAndEMAValLoop',
    'ProgressHook',
    'WholeStepsTrainLoop',
]
