"""Averaged weights against timm's average, and a validation that scores the plain ones too."""

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import BaseModel
from mmengine.runner import Runner
from timm.utils import ModelEmaV2

from convnext_dense.engine import EMAHook
from convnext_dense.registry import HOOKS


class Toy(BaseModel):
    """Predicts class 1 if its weight is positive, otherwise 0; the loss decreases the weight."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([1.0]))

    def forward(self, inputs, gt_label=None, mode='tensor'):
        if mode == 'loss':
            return dict(loss=self.weight.sum())
        scores = torch.cat([-self.weight, self.weight])
        return [dict(pred_scores=scores, gt_label=label) for label in gt_label]


@pytest.mark.parametrize('accumulation', [1, 3])
def test_the_average_equals_timm(accumulation):
    model = torch.nn.Linear(2, 2)
    theirs = ModelEmaV2(model, decay=0.9)
    hook = HOOKS.build(dict(type='convnext_dense.EMAHook', decay=0.9))
    runner = SimpleNamespace(
        model=model,
        iter=0,
        max_iters=12,
        optim_wrapper=SimpleNamespace(_accumulative_counts=accumulation),
    )
    hook.before_run(runner)
    hook.before_train(runner)
    for runner.iter in range(12):
        if (runner.iter + 1) % accumulation == 0:  # a step of the optimizer
            with torch.no_grad():
                model.weight.add_(torch.randn(2, 2))
            theirs.update(model)
        hook.after_train_iter(runner, runner.iter)
    torch.testing.assert_close(hook.ema_model.module.weight, theirs.module.weight)
    assert not torch.allclose(model.weight, theirs.module.weight)


def test_starts_from_the_weights_that_are_loaded_after_before_run():
    model = torch.nn.Linear(2, 2)
    hook = EMAHook(decay=0.9)
    runner = SimpleNamespace(model=model, iter=0, max_iters=2)
    hook.before_run(runner)
    torch.nn.init.ones_(model.weight)  # as init_cfg and load_from do
    hook.before_train(runner)
    torch.nn.init.zeros_(model.weight)
    hook.after_train_iter(runner, 0)
    torch.testing.assert_close(hook.ema_model.module.weight, torch.full((2, 2), 0.9))


@pytest.mark.parametrize('decay', [0.0, 1.0])
def test_bad_decay(decay):
    with pytest.raises(ValueError, match=r'in \(0, 1\)'):
        EMAHook(decay=decay)


def run(folder, hooks, name):
    loader = dict(
        dataset=[dict(inputs=torch.zeros(1), gt_label=torch.tensor(k)) for k in (1, 1, 1, 0)],
        batch_size=2,
        sampler=dict(type='DefaultSampler', shuffle=False),
        num_workers=0,
        collate_fn=pseudo_collate,
    )
    runner = Runner(
        model=Toy(),
        work_dir=str(folder / name),
        experiment_name=f'{folder.name}_{name}',
        custom_hooks=hooks,
        train_dataloader=copy.deepcopy(loader),
        val_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=1),
        val_cfg=dict(type='convnext_dense.PlainAndEMAValLoop'),
        log_level='ERROR',
        val_evaluator=dict(type='convnext_dense.TopKAccuracy', topk=(1,)),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=2.0)),
        cfg=Config(),
    )
    runner.train()  # the weight goes from 1 to -1 to -3
    scores = {k: b.current() for k, b in runner.message_hub.log_scalars.items() if 'top1' in k}
    return scores, runner.model.weight.item()


def test_both_weights_are_scored_and_the_plain_ones_continue_training(tmp_path):
    scores, weight = run(tmp_path, [dict(type='convnext_dense.EMAHook', decay=0.9)], 'both')
    assert scores == {'val/plain_top1': 25.0, 'val/top1': 75.0}  # the average is still above 0
    assert weight == -3.0


def test_without_an_average_there_is_one_validation(tmp_path):
    scores, _ = run(tmp_path, [], 'plain')
    assert scores == {'val/top1': 25.0}
