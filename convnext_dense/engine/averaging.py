"""Averaged weights as the authors average them, and scores of the plain weights beside theirs."""

from __future__ import annotations

import torch
from mmengine import hooks
from mmengine.hooks import EMAHook as BaseEMAHook
from mmengine.runner import ValLoop, autocast

from convnext_dense.registry import HOOKS, LOOPS


@HOOKS.register_module()
class EMAHook(BaseEMAHook):
    """Exponential moving average of the weights, ``average = decay * average + (1 - decay) * weights``.

    The average starts from the initial weights and is updated once after each step of the optimizer, so gradient
    accumulation does not change it. Validation, test and ``state_dict`` of checkpoints have the averaged weights, as
    with mmengine's hook; the plain ones are in ``ema_state_dict``, and :class:`PlainAndEMAValLoop` scores both.

    Args:
        decay: in (0, 1); the authors' 0.9999 remembers about 10,000 steps.

    Source: timm utils/model_ema.py:ModelEma, used in facebookresearch/ConvNeXt main.py @ 048efce.
    Differs: mmengine's own starts from the weights after the first iteration and updates after every batch.
    """

    def __init__(self, decay: float = 0.9999, **kwargs):
        if not 0 < decay < 1:
            raise ValueError(f'decay must be in (0, 1); got {decay}')
        super().__init__(momentum=1 - decay, **kwargs)

    def before_run(self, runner) -> None:
        wrapper = getattr(runner, 'optim_wrapper', None)
        self.ema_cfg['interval'] = getattr(wrapper, '_accumulative_counts', 1)
        super().before_run(runner)

    def before_train(self, runner) -> None:
        super().before_train(runner)
        if (
            self.ema_model.steps == 0
        ):  # not resumed; the initial weights were loaded after before_run
            self.ema_model.module.load_state_dict(self.src_model.state_dict())
            self.ema_model.steps.fill_(1)  # at 0 the first update copies the weights once more


@LOOPS.register_module()
class PlainAndEMAValLoop(ValLoop):
    """mmengine's ValLoop; with an EMA hook in the run it scores the plain weights first, as ``plain_top1`` and so on.

    A run without one is validated once, as ever.
    """

    def run(self) -> dict:
        if any(isinstance(hook, hooks.EMAHook) for hook in self.runner.hooks):
            for name, score in self._score_plain().items():
                self.runner.message_hub.update_scalar(f'val/plain_{name}', score)
        return super().run()

    @torch.no_grad()
    def _score_plain(self) -> dict[str, float]:
        self.runner.model.eval()
        for batch in self.dataloader:
            with autocast(enabled=self.fp16):
                samples = self.runner.model.val_step(batch)
            self.evaluator.process(data_samples=samples, data_batch=batch)
        return self.evaluator.evaluate(len(self.dataloader.dataset))
