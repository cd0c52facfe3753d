"""Small backbones and a toy training run for the tests of ``convnext_dense.engine``."""

import functools
import itertools

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from convnext_dense.engine import LayerDecayOptimWrapperConstructor
from convnext_dense.models import ConvNeXt

_run_numbers = itertools.count()


@pytest.fixture
def make_backbone():
    """ConvNeXt of given depths, four channels wide."""

    def make(depths=(3, 3, 9, 3), use_grn=False, **kwargs):
        return ConvNeXt(dict(depths=depths, dims=(4,) * len(depths), use_grn=use_grn), **kwargs)

    return make


@pytest.fixture
def make_constructor():
    """The constructor; by default with AdamW, lr 1e-4 and weight decay 0.05."""

    def make(optimizer=(), wrapper=(), **paramwise_cfg):
        optimizer = dict(dict(type='AdamW', lr=1e-4, weight_decay=0.05), **dict(optimizer))
        cfg = dict(dict(type='OptimWrapper', optimizer=optimizer), **dict(wrapper))
        return LayerDecayOptimWrapperConstructor(cfg, paramwise_cfg)

    return make


@pytest.fixture
def get_settings():
    """{parameter name: (lr, lr_scale, weight_decay)} of an optimizer wrapper."""

    def get(optim_wrapper):
        return {
            name: (group['lr'], group['lr_scale'], group['weight_decay'])
            for group in optim_wrapper.optimizer.param_groups
            for name in group['param_names']
        }

    return get


class ToyModel(BaseModel):
    def __init__(self):
        super().__init__()
        self.backbone = ConvNeXt(dict(depths=(1, 1, 4, 1), dims=(4, 4, 4, 4)))
        self.decode_head = nn.Conv2d(4, 1, 1)

    def forward(self, inputs, mode='tensor'):
        outputs = self.backbone(inputs)
        score = sum(output.mean() for output in outputs) + self.decode_head(outputs[-1]).mean()
        if mode == 'loss':
            return dict(loss=(score - 1) ** 2)
        return [score]


class CountMetric(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(len(data_batch['inputs']))

    def compute_metrics(self, results):
        return dict(images=sum(results))


@pytest.fixture
def make_runner(tmp_path, monkeypatch):
    """A Runner on random images: 8 for training, 6 for validation, in batches of 2."""
    # Asking the compilers for their versions is slow.
    monkeypatch.setattr(Runner, '_log_env', lambda self, env_cfg: None)
    # mmengine 0.10.7 cannot resume with torch >= 2.6, whose safe loading refuses the log history.
    # These files are our own.
    monkeypatch.setattr('torch.load', functools.partial(torch.load, weights_only=False))

    def make(train_cfg, **kwargs):
        def load(num_images):
            images = [dict(inputs=image) for image in torch.randn(num_images, 3, 32, 32)]
            return DataLoader(images, batch_size=2)

        settings = dict(
            model=ToyModel(),
            work_dir=str(tmp_path),
            train_dataloader=load(8),
            train_cfg=train_cfg,
            val_dataloader=load(6),
            val_cfg=dict(),
            val_evaluator=[CountMetric()],
            default_scope='mmengine',
            default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
            optim_wrapper=dict(
                type='OptimWrapper',
                optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),
                constructor='convnext_dense.LayerDecayOptimWrapperConstructor',
                paramwise_cfg=dict(decay_rate=0.5, decay_type='layer_wise'),
            ),
            log_processor=dict(by_epoch='max_epochs' in train_cfg),
            log_level='INFO',
            experiment_name=f'toy{next(_run_numbers)}',
        )
        return Runner(**dict(settings, **kwargs))

    return make
