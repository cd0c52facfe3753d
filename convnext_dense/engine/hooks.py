"""What the log says about the learning rate of an optimizer with many groups."""

from __future__ import annotations

from mmengine.hooks import Hook

from convnext_dense.registry import HOOKS


@HOOKS.register_module()
class LearningRateRangeHook(Hook):
    """Logs the smallest and the largest learning rate of the optimizer's groups, every iteration.

    mmengine logs the learning rate of the first group alone, which with layer-wise decay is the stem's. The scalars are
    ``train/min_lr`` and ``train/max_lr`` (with several optimizers ``train/NAME.min_lr``): the rates that the coming
    step uses, written as mmengine writes ``lr``, so they appear in log lines and all visualization backends.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        for name, rates in runner.optim_wrapper.get_lr().items():
            owner, dot, last = name.rpartition('.')
            if last == 'lr':  # and not base_lr, which no parameter has
                runner.message_hub.update_scalar(f'train/{owner}{dot}min_lr', min(rates))
                runner.message_hub.update_scalar(f'train/{owner}{dot}max_lr', max(rates))
