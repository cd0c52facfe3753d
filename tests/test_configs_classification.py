"""Every classification config builds, takes a step and has the authors' numbers."""

import math
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope

from convnext_dense.models import ConvNeXtClassifier
from convnext_dense.registry import MODELS

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(path.name for path in (ROOT / 'configs').glob('convnext_*.py'))


class Recipe(NamedTuple):
    """A run of the authors: facebookresearch/ConvNeXt TRAINING.md, main.py @ 048efce.

    T and S from 22k have no command there: their drop path is ours.
    """

    arch: str
    batch: int  # images of a step, over all GPUs
    epochs: int
    warmup: int  # epochs; 0 in fine-tuning
    lr: float
    weight_decay: float
    layer_decay: float
    drop_path: float
    mixes: bool  # Mixup and CutMix
    averages: bool  # an exponential moving average of the weights
    size: int  # pixels


RECIPES = {
    'convnext_t_in1k': Recipe('tiny', 4096, 300, 20, 4e-3, 0.05, 1.0, 0.1, True, True, 224),
    'convnext_s_in1k': Recipe('small', 4096, 300, 20, 4e-3, 0.05, 1.0, 0.4, True, True, 224),
    'convnext_b_in1k': Recipe('base', 4096, 300, 20, 4e-3, 0.05, 1.0, 0.5, True, True, 224),
    'convnext_l_in1k': Recipe('large', 4096, 300, 20, 4e-3, 0.05, 1.0, 0.5, True, True, 224),
    'convnext_b_384_in1k': Recipe('base', 512, 30, 0, 5e-5, 1e-8, 0.7, 0.8, False, False, 384),
    'convnext_l_384_in1k': Recipe('large', 512, 30, 0, 5e-5, 1e-8, 0.7, 0.95, False, False, 384),
    'convnext_b_in22k': Recipe('base', 4096, 90, 5, 4e-3, 0.05, 1.0, 0.1, True, False, 224),
    'convnext_l_in22k': Recipe('large', 4096, 90, 5, 4e-3, 0.05, 1.0, 0.1, True, False, 224),
    'convnext_xl_in22k': Recipe('xlarge', 4096, 90, 5, 4e-3, 0.05, 1.0, 0.2, True, False, 224),
    'convnext_t_in22k_in1k': Recipe('tiny', 512, 30, 0, 5e-5, 1e-8, 0.8, 0.1, False, False, 224),
    'convnext_s_in22k_in1k': Recipe('small', 512, 30, 0, 5e-5, 1e-8, 0.8, 0.1, False, False, 224),
    'convnext_b_in22k_in1k': Recipe('base', 512, 30, 0, 5e-5, 1e-8, 0.8, 0.2, False, False, 224),
    'convnext_l_in22k_in1k': Recipe('large', 512, 30, 0, 5e-5, 1e-8, 0.8, 0.3, False, False, 224),
    'convnext_xl_in22k_in1k': Recipe('xlarge', 512, 30, 0, 5e-5, 1e-8, 0.8, 0.4, False, True, 224),
    'convnext_t_in22k_384_in1k': Recipe(
        'tiny', 512, 30, 0, 5e-5, 1e-8, 0.8, 0.1, False, False, 384
    ),
    'convnext_s_in22k_384_in1k': Recipe(
        'small', 512, 30, 0, 5e-5, 1e-8, 0.8, 0.1, False, False, 384
    ),
    'convnext_b_in22k_384_in1k': Recipe(
        'base', 512, 30, 0, 5e-5, 1e-8, 0.8, 0.2, False, False, 384
    ),
    'convnext_l_in22k_384_in1k': Recipe(
        'large', 512, 30, 0, 5e-5, 1e-8, 0.8, 0.3, False, False, 384
    ),
    'convnext_xl_in22k_384_in1k': Recipe(
        'xlarge', 512, 30, 0, 5e-5, 1e-8, 0.8, 0.4, False, True, 384
    ),
}
# Millions of parameters with 1,000 classes, by the authors.
PARAMETERS = dict(tiny=28.59, small=50.22, base=88.59, large=197.77, xlarge=350.20)


def load(name):
    cfg = Config.fromfile(ROOT / 'configs' / name)
    init_default_scope(cfg.default_scope)
    return cfg


def test_all_configs_are_in_the_table():
    assert {name.removesuffix('.py') for name in CONFIGS} == {*RECIPES, 'convnext_atto_sample'}


@pytest.mark.parametrize('name', RECIPES)
def test_optimizer_is_the_authors(name):
    cfg = load(f'{name}.py')
    recipe = RECIPES[name]
    wrapper = cfg.optim_wrapper
    images = 8 * cfg.train_dataloader.batch_size
    assert images * wrapper.accumulative_counts == recipe.batch
    assert cfg.auto_scale_lr.base_batch_size == images
    assert wrapper.optimizer.type == 'AdamW'
    assert wrapper.optimizer.lr == recipe.lr
    assert wrapper.optimizer.weight_decay == recipe.weight_decay
    assert wrapper.paramwise_cfg.decay_rate == recipe.layer_decay
    assert 'clip_grad' not in wrapper
    assert cfg.train_cfg.max_epochs == recipe.epochs
    decays = [hook.decay for hook in cfg.custom_hooks if hook.type.endswith('EMAHook')]
    assert decays == [0.9999] * recipe.averages


@pytest.mark.parametrize('name', RECIPES)
def test_model_is_the_authors(name):
    model = load(f'{name}.py').model
    recipe = RECIPES[name]
    finetunes = recipe.warmup == 0
    assert model.arch == recipe.arch
    assert model.drop_path_rate == recipe.drop_path
    assert model.num_classes == (21841 if name.endswith('in22k') else 1000)
    assert model.get('head_init_scale', 1.0) == (0.001 if finetunes else 1.0)
    assert ('init_cfg' in model) == finetunes


@pytest.mark.parametrize('name', RECIPES)
def test_images_are_the_authors(name):
    cfg = load(f'{name}.py')
    recipe = RECIPES[name]
    batches = cfg.model.data_preprocessor
    mixup = dict(mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5)
    assert batches.label_smoothing == 0.1
    assert batches.random_erasing == dict(probability=0.25, mode='pixel')
    assert batches.mixup == (mixup if recipe.mixes else None)
    assert cfg.train_dataloader.dataset.transform == dict(
        input_size=recipe.size,
        is_training=True,
        auto_augment='rand-m9-mstd0.5-inc1',
        interpolation='bicubic',
    )
    if not cfg.val_dataloader:
        return
    crop = dict(crop_pct=0.875, crop_mode='center')
    if recipe.size == 384:
        crop = dict(crop_pct=1.0, crop_mode='squash')
    expected = dict(input_size=recipe.size, interpolation='bicubic', **crop)
    assert cfg.val_dataloader.dataset.transform == expected
    assert cfg.test_dataloader.dataset.transform == expected


@pytest.mark.parametrize('arch', PARAMETERS)
def test_number_of_parameters_is_the_authors(arch):
    with torch.device('meta'):
        parameters = sum(p.numel() for p in ConvNeXtClassifier(arch).parameters())
    assert round(parameters / 1e6, 2) == PARAMETERS[arch]


def authors_rate(step, epoch_length, epochs, warmup, lr):
    """The rate of utils.py:cosine_scheduler: linear from 0 to lr, then a cosine."""
    first, total = warmup * epoch_length, epochs * epoch_length
    if step < first:
        return lr * step / (first - 1)
    return 1e-6 + 0.5 * (lr - 1e-6) * (1 + math.cos(math.pi * (step - first) / (total - first)))


@pytest.mark.parametrize('name', ['convnext_t_in1k', 'convnext_b_in22k', 'convnext_b_384_in1k'])
def test_schedule_is_the_authors(name):
    cfg = load(f'{name}.py')
    recipe = RECIPES[name]
    lr = recipe.lr
    parameters = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD(
        [dict(params=[parameters[0]], lr=lr), dict(params=[parameters[1]], lr=lr * 0.7)]
    )
    schedulers = []
    for scheduler in cfg.param_scheduler:
        scheduler = dict(scheduler)
        assert scheduler.pop('convert_to_iter_based')
        cls = PARAM_SCHEDULERS.get(scheduler.pop('type'))
        schedulers.append(cls.build_iter_from_epoch(optimizer, **scheduler, epoch_length=7))
    for step in range(7 * recipe.epochs):
        expected = authors_rate(step, 7, recipe.epochs, recipe.warmup, lr)
        assert optimizer.param_groups[0]['lr'] == pytest.approx(expected, rel=1e-4, abs=1e-8), step
        assert optimizer.param_groups[1]['lr'] == pytest.approx(
            expected * 0.7, rel=1e-4, abs=1e-8
        ), step
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


@pytest.mark.parametrize('name', CONFIGS)
def test_builds_and_steps(name):
    cfg = load(name)
    cfg.model.update(
        arch=dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32)),
        drop_path_rate=0.0,
        init_cfg=None,
        layer_scale_init_value=1.0,
        head_init_scale=1.0,
    )  # small ones would not move at these rates
    cfg.optim_wrapper.update(accumulative_counts=1)
    model = MODELS.build(cfg.model).train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    before = [parameter.clone() for parameter in model.parameters()]
    labels = torch.tensor([0, cfg.model.num_classes - 1])
    losses = model.train_step(
        dict(inputs=torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8), gt_label=labels),
        wrapper,
    )
    assert losses['loss'].isfinite() and losses['loss'].item() == pytest.approx(
        math.log(cfg.model.num_classes), rel=0.2
    )
    assert all((old != new).any() for old, new in zip(before, model.parameters(), strict=True))
