"""Training epochs that consist of whole optimizer steps."""

from __future__ import annotations

from typing import Any

from mmengine.runner import EpochBasedTrainLoop, Runner
from torch.utils.data import DataLoader

from convnext_dense.registry import LOOPS


@LOOPS.register_module()
class WholeStepsTrainLoop(EpochBasedTrainLoop):
    """mmengine's epochs, without the last batches if these are too few for an optimizer step.

    With gradient accumulation, no gradient is then left over at the end of an epoch, so a
    checkpoint from there holds everything that ``--resume`` needs. The sampler must be
    :class:`convnext_dense.datasets.SeedingSampler`. An epoch shorter than a step is not changed.

    Args:
        runner: the runner.
        dataloader: of the training, or its config.
        max_epochs: number of epochs.
        **kwargs: mmengine's.

    Source: facebookresearch/ConvNeXt engine.py:train_one_epoch @ 048efce skips the same batches.
    """

    def __init__(
        self, runner: Runner, dataloader: DataLoader | dict, max_epochs: int, **kwargs: Any
    ):
        super().__init__(runner, dataloader, max_epochs, **kwargs)
        # The optimizer wrapper is a config until the loop is built.
        optim_wrapper = runner.optim_wrapper
        if isinstance(optim_wrapper, dict):
            batches_per_step = optim_wrapper.get('accumulative_counts', 1)
        else:
            batches_per_step = optim_wrapper._accumulative_counts
        images_per_step = self.dataloader.batch_size * batches_per_step
        self.dataloader.sampler.keep_multiple_of(images_per_step)
        self._max_iters = self.max_epochs * len(self.dataloader)
