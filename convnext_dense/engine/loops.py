"""Epochs of whole steps of the optimizer."""

from __future__ import annotations

from mmengine.runner import EpochBasedTrainLoop

from convnext_dense.registry import LOOPS


@LOOPS.register_module()
class WholeStepsTrainLoop(EpochBasedTrainLoop):
    """mmengine's epochs without their last batches where these are too few for a step, with gradient accumulation.

    No gradient is then left over at the end of an epoch, so a checkpoint from there holds all that ``--resume`` needs.
    The sampler must be :class:`convnext_dense.datasets.SeedingSampler`. An epoch shorter than a step is left as it is.

    Source: facebookresearch/ConvNeXt engine.py:train_one_epoch @ 048efce, which skips the same batches.
    """

    def __init__(self, runner, dataloader, max_epochs: int, **kwargs):
        super().__init__(runner, dataloader, max_epochs, **kwargs)
        wrapper = runner.optim_wrapper  # a config until the loop is built
        counts = (
            wrapper.get('accumulative_counts', 1)
            if isinstance(wrapper, dict)
            else wrapper._accumulative_counts
        )
        self.dataloader.sampler.keep_multiple_of(self.dataloader.batch_size * counts)
        self._max_iters = self.max_epochs * len(self.dataloader)
