"""Logs the range of learning rates of an optimizer with many groups."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from convnext_dense.registry import HOOKS


@HOOKS.register_module()
class LearningRateRangeHook(Hook):
    """Logs the smallest and the largest learning rate of all groups, at every iteration.

    mmengine logs only the learning rate of the first group, which with layer-wise decay is the
    stem's. The scalars are ``train/min_lr`` and ``train/max_lr`` (with several optimizers
    ``train/NAME.min_lr``), the rates that the coming step uses. They are stored as mmengine stores
    ``lr``, so they appear in log lines and in all visualization backends.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        # Keys are 'lr' and 'base_lr', or 'NAME.lr' and 'NAME.base_lr' with several optimizers.
        for name, rates in runner.optim_wrapper.get_lr().items():
            prefix, dot, last = name.rpartition('.')
            if last == 'lr':
                runner.message_hub.update_scalar(f'train/{prefix}{dot}min_lr', min(rates))
                runner.message_hub.update_scalar(f'train/{prefix}{dot}max_lr', max(rates))
