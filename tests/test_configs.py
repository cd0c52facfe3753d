"""Every config parses and builds; one of each kind takes a training step; the recipes' numbers are the authors'."""

import functools
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.model import BaseTTAModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS, init_default_scope
from mmengine.structures import InstanceData, PixelData

import convnext_dense  # noqa: F401  (before mmdet and mmseg: it stands in for mmcv's compiled ops)
from convnext_dense import apis
from convnext_dense.variants import get_variant

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / 'configs').glob('*.py'))
HALVED = {
    path.name for path in CONFIGS if '_1x_' in path.name
}  # differ from another config in the schedule alone
DENSE = [
    path for path in CONFIGS if not path.name.startswith('convnext_') and path.name not in HALVED
]
SMALL = (8, 16, 32, 64)  # dims of the trunk in a training step


def load(name):
    cfg = Config.fromfile(ROOT / 'configs' / name)
    init_default_scope(cfg.default_scope)
    return cfg


@functools.cache
def build(name):
    """The model as it is, on no device, and without its pretrained weights."""
    cfg = load(name)
    cfg.model.backbone.init_cfg = None
    with torch.device('meta'):
        return MODELS.build(cfg.model)


def count_millions(name):
    return sum(p.numel() for p in build(name).parameters()) / 1e6


def build_wrapper(model, cfg):
    wrapper = ConfigDict(
        cfg.optim_wrapper, type='OptimWrapper'
    )  # the mixed precision of some needs a GPU
    for key in ('loss_scale', 'dtype', 'accumulative_counts'):
        wrapper.pop(key, None)
    return build_optim_wrapper(model, wrapper)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_header_says_where_it_comes_from_and_how_to_run_it(path):
    header = path.read_text().split('"""')[1]
    assert 'Command:' in header and path.name in header
    assert 'Measured:' in header or 'not yet run' in header


@pytest.mark.parametrize('path', DENSE, ids=lambda path: path.stem)
def test_builds(path):
    """Model, optimizer groups and pipelines as they are, on no device; heads fit the backbone."""
    model, cfg = build(path.name), load(path.name)
    with torch.device('meta'):
        wrapper = build_wrapper(model, cfg)
    trained = sum(p.numel() for group in wrapper.optimizer.param_groups for p in group['params'])
    assert trained == sum(p.numel() for p in model.parameters())
    after = model.neck if getattr(model, 'neck', None) is not None else model.decode_head
    if hasattr(model.backbone, 'out_channels'):
        assert list(after.in_channels) == list(model.backbone.out_channels)
    for loader in (
        cfg.train_dataloader,
        cfg.val_dataloader,
        dict(dataset=dict(pipeline=cfg.tta_pipeline)),
    ):
        assert len(Compose(loader['dataset']['pipeline']).transforms) > 1
    apis.use_tta(cfg)
    with MODELS.switch_scope_and_registry(None) as registry:
        assert issubclass(registry.get(cfg.model.type), BaseTTAModel)
    assert not [
        hook for hook in cfg.custom_hooks if 'EMA' in hook.type
    ]  # it would test weights that nothing set


# -- the authors' numbers ------------------------------------------------------------------------------------------
URL = 'https://dl.fbaipublicfiles.com/convnext/convnext_{}_224.pth'
# name: arch, weights, crop, lr, num_layers, drop path, mixed precision, stride of the window, millions of parameters
ADE20K = {
    't': ('tiny', 'tiny_1k', 512, 1e-4, 6, 0.4, True, 341, 60),
    's': ('small', 'small_1k', 512, 1e-4, 12, 0.3, True, 341, 82),
    'b': ('base', 'base_1k', 512, 1e-4, 12, 0.4, True, 341, 122),
    'b_22k': ('base', 'base_22k', 640, 1e-4, 12, 0.4, True, 426, 122),
    'l_22k': ('large', 'large_22k', 640, 1e-4, 12, 0.4, False, 426, 235),
    'xl_22k': ('xlarge', 'xlarge_22k', 640, 8e-5, 12, 0.4, False, 426, 391),
}
# name: arch, weights, lr, decay, num_layers, drop path, mixed precision, millions of parameters, box AP, mask AP
COCO = {
    'mask_rcnn_convnext_t': ('tiny', 'tiny_1k', 1e-4, 0.95, 6, 0.4, True, 48, 46.2, 41.7),
    'cascade_mask_rcnn_convnext_t': ('tiny', 'tiny_1k', 2e-4, 0.7, 6, 0.4, True, 86, 50.4, 43.7),
    'cascade_mask_rcnn_convnext_s': (
        'small',
        'small_1k',
        2e-4,
        0.7,
        12,
        0.6,
        True,
        108,
        51.9,
        45.0,
    ),
    'cascade_mask_rcnn_convnext_b': ('base', 'base_1k', 2e-4, 0.8, 12, 0.7, True, 146, 52.7, 45.6),
    'cascade_mask_rcnn_convnext_b_22k': (
        'base',
        'base_22k',
        1e-4,
        0.8,
        12,
        0.6,
        True,
        146,
        54.0,
        46.9,
    ),
    'cascade_mask_rcnn_convnext_l_22k': (
        'large',
        'large_22k',
        1e-4,
        0.7,
        12,
        0.7,
        False,
        255,
        54.8,
        47.6,
    ),
    'cascade_mask_rcnn_convnext_xl_22k': (
        'xlarge',
        'xlarge_22k',
        1e-4,
        0.7,
        12,
        0.8,
        False,
        407,
        55.2,
        47.7,
    ),
}
V2 = {
    'atto': 'atto',
    'femto': 'femto',
    'pico': 'pico',
    'nano': 'nano',
    't': 'tiny',
    'b': 'base',
    'l': 'large',
    'h': 'huge',
}


def check_training(cfg, lr, mixed):
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.betas, optimizer.weight_decay) == (
        'AdamW',
        lr,
        (0.9, 0.999),
        0.05,
    )
    assert cfg.optim_wrapper.type == ('AmpOptimWrapper' if mixed else 'OptimWrapper')
    assert cfg.optim_wrapper.get('loss_scale') == ('dynamic' if mixed else None)
    assert 'clip_grad' not in cfg.optim_wrapper
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size == 16


@pytest.mark.parametrize('name, row', ADE20K.items(), ids=ADE20K)
def test_upernet_is_the_authors_recipe(name, row):
    arch, weights, crop, lr, num_layers, drop_path, mixed, stride, millions = row
    cfg = load(cfg_name := f'upernet_convnext_{name}_ade20k.py')
    backbone, heads = cfg.model.backbone, (cfg.model.decode_head, cfg.model.auxiliary_head)
    assert (backbone.arch, backbone.drop_path_rate, backbone.layer_scale_init_value) == (
        arch,
        drop_path,
        1.0,
    )
    assert backbone.init_cfg == dict(type='Pretrained', checkpoint=URL.format(weights))
    check_training(cfg, lr, mixed)
    assert cfg.optim_wrapper.paramwise_cfg == dict(
        decay_rate=0.9, decay_type='stage_wise', num_layers=num_layers
    )
    assert cfg.model.test_cfg == dict(mode='slide', crop_size=(crop, crop), stride=(stride, stride))
    dims = get_variant(arch).dims
    assert [
        (head.channels, head.in_channels, head.num_classes, head.loss_decode.loss_weight)
        for head in heads
    ] == [(512, list(dims), 150, 1.0), (256, dims[2], 150, 0.4)]
    assert cfg.train_cfg.max_iters == 160000 and cfg.model.data_preprocessor.size == (crop, crop)
    resize, cut = cfg.train_dataloader.dataset.pipeline[2:4]
    assert (resize.scale, resize.ratio_range, cut.crop_size) == (
        (4 * crop, crop),
        (0.5, 2.0),
        (crop, crop),
    )
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (4 * crop, crop)
    sizes, flips = cfg.tta_pipeline[1].transforms[:2]
    assert [size.scale[1] / crop for size in sizes] == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    assert [flip.prob for flip in flips] == [0.0, 1.0] and cfg.tta_test_cfg == dict(mode='whole')
    assert round(count_millions(cfg_name)) == millions


@pytest.mark.parametrize('name', V2)
def test_upernet_v2_is_that_of_v1_without_layer_scale(name):
    cfg, v1 = load(f'upernet_convnext_v2_{name}_ade20k.py'), load('upernet_convnext_t_ade20k.py')
    assert (
        cfg.model.backbone.arch == f'v2_{V2[name]}'
        and 'layer_scale_init_value' not in cfg.model.backbone
    )
    assert cfg.model.backbone.init_cfg.checkpoint == (
        f'https://dl.fbaipublicfiles.com/convnext/convnextv2/im1k/convnextv2_{V2[name]}_1k_224_ema.pt'
    )
    del v1.optim_wrapper.paramwise_cfg['num_layers']  # it follows from the depths
    for key in (
        'optim_wrapper',
        'param_scheduler',
        'train_dataloader',
        'test_dataloader',
        'tta_pipeline',
    ):
        assert cfg[key] == v1[key]
    assert cfg.model.auxiliary_head.in_channels == cfg.model.decode_head.in_channels[2]


@pytest.mark.parametrize('name, row', COCO.items(), ids=COCO)
def test_detector_is_the_authors_recipe(name, row):
    arch, weights, lr, decay, num_layers, drop_path, mixed, millions, box, mask = row
    cfg = load(cfg_name := f'{name}_coco.py')
    backbone = cfg.model.backbone
    assert (backbone.arch, backbone.drop_path_rate, backbone.layer_scale_init_value) == (
        arch,
        drop_path,
        1.0,
    )
    assert backbone.init_cfg == dict(type='Pretrained', checkpoint=URL.format(weights))
    check_training(cfg, lr, mixed)
    assert cfg.optim_wrapper.paramwise_cfg == dict(
        decay_rate=decay, decay_type='layer_wise', num_layers=num_layers
    )
    assert cfg.train_cfg.max_epochs == 36 and cfg.param_scheduler[1].milestones == [27, 33]
    assert apis.read_scores(ROOT / 'configs' / cfg_name)[0] == (
        f"{box} box AP, {mask} mask AP (the authors' scores)"
    )
    assert round(count_millions(cfg_name)) == millions


def test_exact_sizes_of_the_authors_models():
    assert round(count_millions('upernet_convnext_t_ade20k.py'), 2) == 60.24
    assert round(count_millions('mask_rcnn_convnext_t_coco.py'), 2) == 48.10
    assert round(count_millions('cascade_mask_rcnn_convnext_t_coco.py'), 2) == 85.93


def test_cascade_has_the_authors_heads():
    model = load('cascade_mask_rcnn_convnext_t_coco.py').model
    heads = model.roi_head.bbox_head
    assert [head.bbox_coder.target_stds for head in heads] == [
        [0.1, 0.1, 0.2, 0.2],
        [0.05, 0.05, 0.1, 0.1],
        [0.033, 0.033, 0.067, 0.067],
    ]
    for head in heads:
        assert (head.type, head.num_shared_convs, head.num_shared_fcs) == ('ConvFCBBoxHead', 4, 1)
        assert head.norm_cfg.type == 'SyncBN'
        assert head.loss_bbox == dict(type='GIoULoss', loss_weight=10.0)
        assert head.reg_decoded_bbox is True and head.reg_class_agnostic is False
    assert [cfg.assigner.pos_iou_thr for cfg in model.train_cfg.rcnn] == [0.5, 0.6, 0.7]
    assert (
        model.train_cfg.rpn_proposal.max_per_img == 2000 and model.train_cfg.rpn.allowed_border == 0
    )


@pytest.mark.parametrize('name', COCO)
def test_short_schedule_is_all_that_1x_changes(name):
    long, short = load(f'{name}_coco.py'), load(f'{name}_1x_coco.py')
    assert short.train_cfg.max_epochs == 12 and short.param_scheduler[1].milestones == [8, 11]
    for cfg in (long, short):
        cfg.train_cfg.max_epochs = cfg.param_scheduler[1].milestones = None
    assert dict(long) == dict(short)


def test_coco_images_are_the_authors():
    cfg = load('mask_rcnn_convnext_t_coco.py')
    flip, choice = cfg.train_dataloader.dataset.pipeline[2:4]
    (alone,), (before, crop, after) = choice.transforms
    assert (
        flip.prob == 0.5
        and alone == after
        and before.scales == [(400, 1333), (500, 1333), (600, 1333)]
    )
    assert [short for short, _ in alone.scales] == [
        480,
        512,
        544,
        576,
        608,
        640,
        672,
        704,
        736,
        768,
        800,
    ]
    assert (crop.crop_type, crop.crop_size, crop.allow_negative_crop) == (
        'absolute_range',
        (384, 600),
        True,
    )
    assert cfg.test_dataloader.dataset.pipeline[1] == dict(
        type='Resize', scale=(1333, 800), keep_ratio=True
    )


# -- schedules -----------------------------------------------------------------------------------------------------
def make_schedulers(cfg, base):
    layer = torch.nn.Parameter(torch.zeros(1)), torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD(
        [dict(params=[layer[0]], lr=base), dict(params=[layer[1]], lr=base / 2)]
    )
    build_one = functools.partial(PARAM_SCHEDULERS.build, default_args=dict(optimizer=optimizer))
    return optimizer, [build_one(dict(scheduler)) for scheduler in cfg.param_scheduler]


def test_schedule_is_the_closed_form():
    base = 1e-4
    optimizer, schedulers = make_schedulers(load('upernet_convnext_t_ade20k.py'), base)
    for i in range(2000):
        expected = base * (1 - i / 160000) * (1e-6 + (1 - 1e-6) * min(i / 1500, 1))
        assert optimizer.param_groups[0]['lr'] == pytest.approx(expected, rel=1e-6), i
        assert optimizer.param_groups[1]['lr'] == pytest.approx(expected / 2, rel=1e-6), i
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


@pytest.mark.parametrize(
    'name, steps',
    [('mask_rcnn_convnext_t_coco.py', (27, 33)), ('mask_rcnn_convnext_t_1x_coco.py', (8, 11))],
)
def test_coco_schedule_is_the_closed_form(name, steps):
    base, per_epoch = 1e-4, 60  # iterations: the warm-up ends in epoch 8
    optimizer, (warm_up, decay) = make_schedulers(load(name), base)
    for i in range((steps[1] + 1) * per_epoch):
        epoch = i // per_epoch
        expected = (
            base
            * (1e-3 + (1 - 1e-3) * min(i / 500, 1))
            * 0.1 ** sum(epoch >= step for step in steps)
        )
        assert optimizer.param_groups[0]['lr'] == pytest.approx(expected, rel=1e-6), i
        assert optimizer.param_groups[1]['lr'] == pytest.approx(expected / 2, rel=1e-6), i
        optimizer.step()
        warm_up.step()
        if (i + 1) % per_epoch == 0:
            decay.step()


# -- a training step -----------------------------------------------------------------------------------------------
def shrink(cfg):
    """True depths, narrow trunk and heads, few proposals, nothing dropped; in place."""
    variant = get_variant(cfg.model.backbone.arch)
    cfg.model.backbone.update(
        arch=dict(depths=variant.depths, dims=SMALL, use_grn=variant.use_grn),
        init_cfg=None,
        drop_path_rate=0.0,
    )
    if 'decode_head' in cfg.model:
        cfg.model.data_preprocessor.size = (64, 64)
        cfg.model.decode_head.update(in_channels=list(SMALL), channels=16)
        if cfg.model.get('auxiliary_head'):
            cfg.model.auxiliary_head.update(in_channels=SMALL[2], channels=16)
        return
    cfg.model.neck.in_channels = list(SMALL)
    cfg.model.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=16)
    rcnn = cfg.model.train_cfg.rcnn
    for stage in rcnn if isinstance(rcnn, list) else [rcnn]:
        stage.sampler.num = 8


def make_samples(cfg):
    """Two random images with labels, or with one object each."""
    if cfg.default_scope == 'mmseg':
        from mmseg.structures import SegDataSample

        samples = [SegDataSample(metainfo=dict(img_shape=(64, 64))) for _ in range(2)]
        for sample in samples:
            sample.gt_sem_seg = PixelData(
                data=torch.randint(0, cfg.model.decode_head.num_classes, (1, 64, 64))
            )
        return samples
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    truth = torch.zeros(64, 64, dtype=torch.uint8)
    truth[8:40, 16:48] = 1
    meta = dict(img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1.0, 1.0))
    samples = [DetDataSample(metainfo=meta), DetDataSample(metainfo=meta)]
    for sample in samples:
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[16.0, 8.0, 48.0, 40.0]]),
            labels=torch.tensor([0]),
            masks=BitmapMasks([truth.numpy()], 64, 64),
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
    return samples


@pytest.mark.parametrize(
    'name',
    [
        'upernet_convnext_atto_sample',
        'upernet_convnext_t_ade20k',
        'upernet_convnext_v2_atto_ade20k',
        'upernet_convnext_t_camvid',
        'mask_rcnn_convnext_t_coco',
        'mask_rcnn_convnext_t_nuclei',
        'mask_rcnn_convnext_atto_sample',
        'cascade_mask_rcnn_convnext_t_coco',
    ],
)
def test_steps(name):
    cfg = load(f'{name}.py')
    shrink(cfg)
    model = MODELS.build(cfg.model).train()
    before = {name: parameter.clone() for name, parameter in model.backbone.named_parameters()}
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    losses = model.train_step(
        dict(inputs=images, data_samples=make_samples(cfg)), build_wrapper(model, cfg)
    )
    assert all(value.isfinite().all() for value in losses.values())
    unused = {'norm0'} if cfg.model.get('neck', {}).get('start_level') else set()
    still = {
        name
        for name, parameter in model.backbone.named_parameters()
        if torch.equal(before[name], parameter)
    }
    assert {name.split('.')[0] for name in still} <= unused


def test_the_page_of_recipes_is_made_from_the_configs():
    page = (ROOT / 'docs' / 'recipes.md').read_text()
    assert apis.format_recipes(CONFIGS) in page, 'python tools/list_recipes.py --write'
