"""Averaged weights as the authors average them, and a validation of both kinds of weights."""

from __future__ import annotations

from typing import Any

import torch
from mmengine import hooks
from mmengine.hooks import EMAHook as BaseEMAHook
from mmengine.runner import Runner, ValLoop, autocast

from convnext_dense.registry import HOOKS, LOOPS


@HOOKS.register_module()
class EMAHook(BaseEMAHook):
    """Keeps an exponential moving average of the weights.

    ::

        average = decay * average + (1 - decay) * weights

    The average starts from the initial weights and is updated once after each optimizer step, so
    gradient accumulation does not change it. As with mmengine's hook, validation, test and the
    ``state_dict`` of checkpoints have the averaged weights, and ``ema_state_dict`` has the plain
    ones. :class:`PlainAndEMAValLoop` scores both.

    Args:
        decay: in (0, 1). The authors' 0.9999 averages over about 10,000 steps.
        **kwargs: mmengine's.

    Raises:
        ValueError: ``decay`` is out of range.

    Source: timm utils/model_ema.py:ModelEma, used in facebookresearch/ConvNeXt main.py @ 048efce.
    Differs: mmengine's hook starts from the weights after the first iteration and updates after
    every batch.
    """

    def __init__(self, decay: float = 0.9999, **kwargs: Any):
        if not 0 < decay < 1:
            raise ValueError(f'decay must be in (0, 1); got {decay}')
        super().__init__(momentum=1 - decay, **kwargs)

    def before_run(self, runner: Runner) -> None:
        optim_wrapper = getattr(runner, 'optim_wrapper', None)
        self.ema_cfg['interval'] = getattr(optim_wrapper, '_accumulative_counts', 1)
        super().before_run(runner)

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        is_resumed = self.ema_model.steps > 0
        if not is_resumed:
            # The initial weights were loaded after before_run, where mmengine copies the model.
            self.ema_model.module.load_state_dict(self.src_model.state_dict())
            self.ema_model.steps.fill_(1)  # at 0 the first update would copy the weights again


@LOOPS.register_module()
class PlainAndEMAValLoop(ValLoop):
    """mmengine's ValLoop, which also scores the plain weights if the run has an EMA hook.

    The scores of the plain weights are named ``plain_top1`` and so on.
    """

    def run(self) -> dict:
        if any(isinstance(hook, hooks.EMAHook) for hook in self.runner.hooks):
            for name, score in self._score_plain_weights().items():
                self.runner.message_hub.update_scalar(f'val/plain_{name}', score)
        return super().run()

    @torch.no_grad()
    def _score_plain_weights(self) -> dict[str, float]:
        # The hook swaps in the averaged weights in before_val_epoch: until then they are plain.
        self.runner.model.eval()
        for batch in self.dataloader:
            with autocast(enabled=self.fp16):
                samples = self.runner.model.val_step(batch)
            self.evaluator.process(data_samples=samples, data_batch=batch)
        return self.evaluator.evaluate(len(self.dataloader.dataset))
