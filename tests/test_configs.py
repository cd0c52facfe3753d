"""Every config parses, builds and takes one training step; the recipe's numbers are the authors'."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope

import convnext_dense  # noqa: F401  (before mmseg: it stands in for mmcv's compiled ops)

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / 'configs').glob('*.py'))


def load(name):
    cfg = Config.fromfile(ROOT / 'configs' / name)
    init_default_scope(cfg.default_scope)
    return cfg


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_header_says_where_it_comes_from_and_how_to_run_it(path):
    header = path.read_text().split('"""')[1]
    assert 'Command:' in header and path.name in header
    assert 'Measured:' in header or 'not yet run' in header


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_builds_and_steps(path):
    from mmengine.structures import PixelData
    from mmseg.registry import MODELS
    from mmseg.structures import SegDataSample
    cfg = load(path.name)
    cfg.model.backbone.init_cfg = None
    cfg.model.backbone.drop_path_rate = 0.  # a dropped block would not move
    cfg.model.data_preprocessor.size = (64, 64)
    cfg.optim_wrapper.update(type='OptimWrapper')  # the mixed precision of some needs a GPU
    cfg.optim_wrapper.pop('loss_scale', None)
    model = MODELS.build(cfg.model).train()
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    samples = []
    for _ in range(2):
        labels = torch.randint(0, cfg.model.decode_head.num_classes, (1, 64, 64))
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=labels), metainfo=dict(img_shape=(64, 64))))
    before = [parameter.clone() for parameter in model.backbone.parameters()]
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in samples]
    losses = model.train_step(dict(inputs=images, data_samples=samples), wrapper)
    assert all(value.isfinite().all() for value in losses.values())
    assert all((old != new).any() for old, new in zip(before, model.backbone.parameters(), strict=True))
    assert model.decode_head.in_channels == list(model.backbone.out_channels)


def test_upernet_tiny_is_the_authors_recipe():
    cfg = load('upernet_convnext_t_ade20k.py')
    backbone, optimizer = cfg.model.backbone, cfg.optim_wrapper.optimizer
    assert (backbone.arch, backbone.drop_path_rate, backbone.layer_scale_init_value) == ('tiny', .4, 1.)
    assert (optimizer.type, optimizer.lr, optimizer.betas, optimizer.weight_decay) == ('AdamW', 1e-4, (.9, .999), .05)
    assert cfg.optim_wrapper.paramwise_cfg == dict(decay_rate=.9, decay_type='stage_wise', num_layers=6)
    assert cfg.model.test_cfg == dict(mode='slide', crop_size=(512, 512), stride=(341, 341))
    assert cfg.model.decode_head.channels == 512 and cfg.model.auxiliary_head.channels == 256
    assert cfg.model.auxiliary_head.loss_decode.loss_weight == .4 and cfg.train_cfg.max_iters == 160000
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size == 16
    assert cfg.tta_test_cfg.mode == 'whole' and len(cfg.tta_pipeline[1].transforms[0]) == 6
    from mmseg.registry import MODELS
    with torch.device('meta'):
        cfg.model.backbone.init_cfg = None
        parameters = sum(p.numel() for p in MODELS.build(cfg.model).parameters())
    assert round(parameters / 1e6, 2) == 60.24  # as counted from the authors' code


def test_schedule_is_the_closed_form():
    cfg, base = load('upernet_convnext_t_ade20k.py'), 1e-4
    layer = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([dict(params=[layer[0]], lr=base), dict(params=[layer[1]], lr=base / 2)])
    schedulers = [PARAM_SCHEDULERS.build(dict(s), default_args=dict(optimizer=optimizer)) for s in cfg.param_scheduler]
    for i in range(2000):
        expected = base * (1 - i / 160000) * (1e-6 + (1 - 1e-6) * min(i / 1500, 1))
        assert optimizer.param_groups[0]['lr'] == pytest.approx(expected, rel=1e-6), i
        assert optimizer.param_groups[1]['lr'] == pytest.approx(expected / 2, rel=1e-6), i
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
