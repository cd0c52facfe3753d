"""The configs of detection and segmentation build, take a step and have the authors' numbers."""

import functools
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.model import BaseTTAModel
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, PARAM_SCHEDULERS
from mmengine.structures import InstanceData, PixelData

import convnext_dense  # noqa: F401  (before mmdet and mmseg: it stands in for mmcv's compiled ops)
from convnext_dense import apis
from convnext_dense.engine.layer_ids import get_num_layers
from convnext_dense.variants import get_variant

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
NAMES = [path.stem for path in sorted(CONFIGS.glob('*.py'))]
# A test below holds that configs with 1x differ from another config in the schedule alone.
DENSE = [name for name in NAMES if not name.startswith('convnext_') and '_1x_' not in name]
DIMS = (8, 16, 32, 64)  # of the backbone in a training step
WEIGHTS = 'https://dl.fbaipublicfiles.com/convnext/{}'


@functools.cache
def read_metafile(data):
    """{name of a config: its entry}."""
    metafile = yaml.safe_load((CONFIGS / f'metafile_{data}.yml').read_text())
    return {model['Name']: model for model in metafile['Models']}


def count_millions(model):
    return sum(parameter.numel() for parameter in model.parameters()) / 1e6


def build_wrapper(model, cfg):
    """The optimizer of a config without its mixed precision, which needs a GPU."""
    wrapper = ConfigDict(cfg.optim_wrapper, type='OptimWrapper')
    for key in ('loss_scale', 'dtype', 'accumulative_counts'):
        wrapper.pop(key, None)
    return build_optim_wrapper(model, wrapper)


@pytest.fixture(scope='session')
def _built():
    """Models that a test of this session has built already, by the name of the config."""
    return {}


@pytest.fixture
def build(read_config, _built):
    """``build(name)``: the model of a config on the meta device, without pretrained weights."""

    def build_model(name):
        if name not in _built:
            cfg = read_config(name)
            cfg.model.backbone.init_cfg = None
            with torch.device('meta'):
                _built[name] = MODELS.build(cfg.model)
        return _built[name]

    return build_model


# -- every config --------------------------------------------------------------------------------
@pytest.mark.parametrize('name', DENSE)
def test_model_and_optimizer_build(name, read_config, build):
    cfg = read_config(name)
    model = build(name)
    with torch.device('meta'):
        groups = build_wrapper(model, cfg).optimizer.param_groups
    trained = sum(parameter.numel() for group in groups for parameter in group['params'])
    assert trained == sum(parameter.numel() for parameter in model.parameters())
    if hasattr(model.backbone, 'out_channels'):
        reader = model.neck if getattr(model, 'neck', None) is not None else model.decode_head
        assert list(reader.in_channels) == list(model.backbone.out_channels)


@pytest.mark.parametrize('name', DENSE)
def test_pipelines_build(name, read_config):
    cfg = read_config(name)
    datasets = [cfg.train_dataloader.dataset, cfg.val_dataloader.dataset]
    for pipeline in [*(dataset.pipeline for dataset in datasets), cfg.tta_pipeline]:
        assert len(Compose(pipeline).transforms) > 1


@pytest.mark.parametrize('name', DENSE)
def test_test_time_augmentation_applies(name, read_config):
    cfg = read_config(name)
    apis.use_tta(cfg)
    with MODELS.switch_scope_and_registry(None) as registry:
        assert issubclass(registry.get(cfg.model.type), BaseTTAModel)
    # The hook would replace the tested weights by averages that were never set.
    assert not [hook for hook in cfg.custom_hooks if 'EMA' in hook.type]


@pytest.mark.parametrize('name', NAMES)
def test_header_is_at_most_three_lines_or_describes_data(name):
    header = (CONFIGS / f'{name}.py').read_text().split('"""')[1]
    assert len(header.strip().splitlines()) <= (6 if name.endswith('_camvid') else 3)


# -- the authors' numbers ------------------------------------------------------------------------
class Segmentor(NamedTuple):
    """A row of the authors' configs and of table 4; scores: mIoU, and with six sizes and a flip."""

    arch: str
    weights: str
    crop: int
    lr: float
    num_layers: int
    drop_path: float
    mixed: bool
    window_stride: int
    millions: int
    scores: tuple[float, float]


ADE20K = {
    't': Segmentor('tiny', 'tiny_1k', 512, 1e-4, 6, 0.4, True, 341, 60, (46.0, 46.7)),
    's': Segmentor('small', 'small_1k', 512, 1e-4, 12, 0.3, True, 341, 82, (48.7, 49.6)),
    'b': Segmentor('base', 'base_1k', 512, 1e-4, 12, 0.4, True, 341, 122, (49.1, 49.9)),
    'b_22k': Segmentor('base', 'base_22k', 640, 1e-4, 12, 0.4, True, 426, 122, (52.6, 53.1)),
    'l_22k': Segmentor('large', 'large_22k', 640, 1e-4, 12, 0.4, False, 426, 235, (53.2, 53.7)),
    'xl_22k': Segmentor('xlarge', 'xlarge_22k', 640, 8e-5, 12, 0.4, False, 426, 391, (53.6, 54.0)),
}


class Detector(NamedTuple):
    """A row of the authors' configs and of table 3; scores are box AP and mask AP."""

    arch: str
    weights: str
    lr: float
    decay_rate: float
    num_layers: int
    drop_path: float
    mixed: bool
    millions: int
    scores: tuple[float, float]


COCO = {
    'mask_rcnn_convnext_t': Detector('tiny', 'tiny_1k', 1e-4, 0.95, 6, 0.4, True, 48, (46.2, 41.7)),
    'cascade_mask_rcnn_convnext_t': Detector(
        'tiny', 'tiny_1k', 2e-4, 0.7, 6, 0.4, True, 86, (50.4, 43.7)
    ),
    'cascade_mask_rcnn_convnext_s': Detector(
        'small', 'small_1k', 2e-4, 0.7, 12, 0.6, True, 108, (51.9, 45.0)
    ),
    'cascade_mask_rcnn_convnext_b': Detector(
        'base', 'base_1k', 2e-4, 0.8, 12, 0.7, True, 146, (52.7, 45.6)
    ),
    'cascade_mask_rcnn_convnext_b_22k': Detector(
        'base', 'base_22k', 1e-4, 0.8, 12, 0.6, True, 146, (54.0, 46.9)
    ),
    'cascade_mask_rcnn_convnext_l_22k': Detector(
        'large', 'large_22k', 1e-4, 0.7, 12, 0.7, False, 255, (54.8, 47.6)
    ),
    'cascade_mask_rcnn_convnext_xl_22k': Detector(
        'xlarge', 'xlarge_22k', 1e-4, 0.7, 12, 0.8, False, 407, (55.2, 47.7)
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


def check_backbone(backbone, row):
    assert backbone.arch == row.arch
    assert backbone.drop_path_rate == row.drop_path
    assert backbone.layer_scale_init_value == 1.0
    checkpoint = WEIGHTS.format(f'convnext_{row.weights}_224.pth')
    assert backbone.init_cfg == dict(type='Pretrained', checkpoint=checkpoint)


def check_training(cfg, row, decay_rate, decay_type):
    wrapper = cfg.optim_wrapper
    betas = (0.9, 0.999)
    assert wrapper.optimizer == dict(type='AdamW', lr=row.lr, betas=betas, weight_decay=0.05)
    assert wrapper.type == ('AmpOptimWrapper' if row.mixed else 'OptimWrapper')
    assert wrapper.get('loss_scale') == ('dynamic' if row.mixed else None)
    assert 'clip_grad' not in wrapper
    # The authors write num_layers into each config; here it follows from the depths.
    assert wrapper.paramwise_cfg == dict(decay_rate=decay_rate, decay_type=decay_type)
    assert get_num_layers(get_variant(row.arch).depths, decay_type) == row.num_layers
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size == 16


@pytest.mark.parametrize('size, row', ADE20K.items(), ids=ADE20K)
def test_upernet_trains_as_the_authors_do(size, row, read_config):
    cfg = read_config(f'upernet_convnext_{size}_ade20k')
    check_backbone(cfg.model.backbone, row)
    check_training(cfg, row, 0.9, 'stage_wise')
    assert cfg.train_cfg.max_iters == 160000
    resize, crop = cfg.train_dataloader.dataset.pipeline[2:4]
    assert resize.scale == (4 * row.crop, row.crop)
    assert resize.ratio_range == (0.5, 2.0)
    assert crop.crop_size == cfg.model.data_preprocessor.size == (row.crop, row.crop)


@pytest.mark.parametrize('size, row', ADE20K.items(), ids=ADE20K)
def test_upernet_has_the_authors_heads(size, row, read_config):
    model = read_config(f'upernet_convnext_{size}_ade20k').model
    dims = get_variant(row.arch).dims
    heads = (model.decode_head, model.auxiliary_head)
    assert [head.channels for head in heads] == [512, 256]
    assert [head.in_channels for head in heads] == [list(dims), dims[2]]
    assert [head.num_classes for head in heads] == [150, 150]
    assert [head.loss_decode.loss_weight for head in heads] == [1.0, 0.4]


@pytest.mark.parametrize('size, row', ADE20K.items(), ids=ADE20K)
def test_upernet_is_tested_as_the_authors_do(size, row, read_config):
    cfg = read_config(f'upernet_convnext_{size}_ade20k')
    stride = (row.window_stride, row.window_stride)
    assert cfg.model.test_cfg == dict(mode='slide', crop_size=(row.crop, row.crop), stride=stride)
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (4 * row.crop, row.crop)
    sizes, flips = cfg.tta_pipeline[1].transforms[:2]
    assert [size.scale[1] / row.crop for size in sizes] == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75]
    assert [flip.prob for flip in flips] == [0.0, 1.0]
    assert cfg.tta_test_cfg == dict(mode='whole')


@pytest.mark.parametrize('size, row', ADE20K.items(), ids=ADE20K)
def test_metafile_of_upernet_has_the_authors_size_and_scores(size, row, build):
    name = f'upernet_convnext_{size}_ade20k'
    model = read_metafile('ade20k')[name]
    assert model['Metadata']['Parameters'] == f'{row.millions} M'
    assert round(count_millions(build(name))) == row.millions
    (result,) = model['Results']
    assert tuple(result['Metrics'].values()) == row.scores


@pytest.mark.parametrize('size', V2)
def test_upernet_v2_is_that_of_v1_without_layer_scale(size, read_config):
    cfg = read_config(f'upernet_convnext_v2_{size}_ade20k')
    backbone = cfg.model.backbone
    assert backbone.arch == f'v2_{V2[size]}'
    assert 'layer_scale_init_value' not in backbone
    file = f'convnextv2/im1k/convnextv2_{V2[size]}_1k_224_ema.pt'
    assert backbone.init_cfg.checkpoint == WEIGHTS.format(file)
    assert cfg.model.auxiliary_head.in_channels == cfg.model.decode_head.in_channels[2]
    v1 = read_config('upernet_convnext_t_ade20k')
    v1.model = cfg.model
    assert dict(cfg) == dict(v1)


@pytest.mark.parametrize('size', V2)
def test_metafile_of_upernet_v2_has_the_size(size, build):
    name = f'upernet_convnext_v2_{size}_ade20k'
    millions = round(count_millions(build(name)))
    parameters = read_metafile('ade20k')[name]['Metadata']['Parameters']
    assert parameters.startswith(f'{millions} M, ')


@pytest.mark.parametrize('name, row', COCO.items(), ids=COCO)
def test_detector_trains_as_the_authors_do(name, row, read_config):
    cfg = read_config(f'{name}_coco')
    check_backbone(cfg.model.backbone, row)
    check_training(cfg, row, row.decay_rate, 'layer_wise')
    assert cfg.train_cfg.max_epochs == 36
    assert cfg.param_scheduler[1].milestones == [27, 33]


@pytest.mark.parametrize('name, row', COCO.items(), ids=COCO)
def test_metafile_of_a_detector_has_the_authors_size_and_scores(name, row, build):
    model = read_metafile('coco')[f'{name}_coco']
    assert model['Metadata']['Parameters'] == f'{row.millions} M'
    assert round(count_millions(build(f'{name}_coco'))) == row.millions
    box, mask = model['Results']
    assert (box['Metrics']['box AP'], mask['Metrics']['mask AP']) == row.scores


@pytest.mark.parametrize(
    'name, millions',
    [
        ('upernet_convnext_t_ade20k', 60.24),
        ('mask_rcnn_convnext_t_coco', 48.10),
        ('cascade_mask_rcnn_convnext_t_coco', 85.93),
    ],
)
def test_exact_size_of_the_authors_models(name, millions, build):
    assert round(count_millions(build(name)), 2) == millions


def test_cascade_has_the_authors_heads(read_config):
    model = read_config('cascade_mask_rcnn_convnext_t_coco').model
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
        assert head.reg_decoded_bbox is True
        assert head.reg_class_agnostic is False
    assert [stage.assigner.pos_iou_thr for stage in model.train_cfg.rcnn] == [0.5, 0.6, 0.7]
    assert model.train_cfg.rpn_proposal.max_per_img == 2000
    assert model.train_cfg.rpn.allowed_border == 0


@pytest.mark.parametrize('name', COCO)
def test_short_schedule_is_all_that_1x_changes(name, read_config):
    long = read_config(f'{name}_coco')
    short = read_config(f'{name}_1x_coco')
    assert short.train_cfg.max_epochs == 12
    assert short.param_scheduler[1].milestones == [8, 11]
    for cfg in (long, short):
        cfg.train_cfg.max_epochs = None
        cfg.param_scheduler[1].milestones = None
    assert dict(long) == dict(short)


def test_coco_images_are_augmented_as_the_authors_do(read_config):
    cfg = read_config('mask_rcnn_convnext_t_coco')
    flip, choice = cfg.train_dataloader.dataset.pipeline[2:4]
    (resize,), (before, crop, after) = choice.transforms
    assert flip.prob == 0.5
    assert [short for short, _ in resize.scales] == list(range(480, 801, 32))
    assert before.scales == [(400, 1333), (500, 1333), (600, 1333)]
    assert (crop.crop_type, crop.crop_size) == ('absolute_range', (384, 600))
    assert crop.allow_negative_crop is True
    assert after == resize
    test_resize = cfg.test_dataloader.dataset.pipeline[1]
    assert test_resize == dict(type='Resize', scale=(1333, 800), keep_ratio=True)


# -- schedules -----------------------------------------------------------------------------------
def make_schedulers(cfg, base):
    """An optimizer of two layers, the second at half the rate, and the schedulers of ``cfg``."""
    layers = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [dict(params=[layers[0]], lr=base), dict(params=[layers[1]], lr=base / 2)]
    optimizer = torch.optim.SGD(groups)
    schedulers = []
    for scheduler in cfg.param_scheduler:
        built = PARAM_SCHEDULERS.build(dict(scheduler), default_args=dict(optimizer=optimizer))
        schedulers.append(built)
    return optimizer, schedulers


def check_rates(optimizer, expected, i):
    first, second = optimizer.param_groups
    assert first['lr'] == pytest.approx(expected, rel=1e-6), i
    assert second['lr'] == pytest.approx(expected / 2, rel=1e-6), i


def test_schedule_is_the_closed_form(read_config):
    base = 1e-4
    optimizer, schedulers = make_schedulers(read_config('upernet_convnext_t_ade20k'), base)
    for i in range(2000):
        warm_up = 1e-6 + (1 - 1e-6) * min(i / 1500, 1)
        check_rates(optimizer, base * (1 - i / 160000) * warm_up, i)
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


@pytest.mark.parametrize(
    'name, steps',
    [('mask_rcnn_convnext_t_coco', (27, 33)), ('mask_rcnn_convnext_t_1x_coco', (8, 11))],
)
def test_coco_schedule_is_the_closed_form(name, steps, read_config):
    base = 1e-4
    iterations = 60  # of an epoch: the warm-up ends in epoch 8
    optimizer, (warm_up, decay) = make_schedulers(read_config(name), base)
    for i in range((steps[1] + 1) * iterations):
        warmth = 1e-3 + (1 - 1e-3) * min(i / 500, 1)
        passed = sum(i // iterations >= step for step in steps)
        check_rates(optimizer, base * warmth * 0.1**passed, i)
        optimizer.step()
        warm_up.step()
        if (i + 1) % iterations == 0:
            decay.step()


# -- a training step -----------------------------------------------------------------------------
def shrink(cfg):
    """Change ``cfg`` to true depths, few channels and proposals, and no drop path."""
    model = cfg.model
    variant = get_variant(model.backbone.arch)
    arch = dict(depths=variant.depths, dims=DIMS, use_grn=variant.use_grn)
    model.backbone.update(arch=arch, init_cfg=None, drop_path_rate=0.0)
    if 'decode_head' in model:
        model.data_preprocessor.size = (64, 64)
        model.decode_head.update(in_channels=list(DIMS), channels=16)
        if model.get('auxiliary_head'):
            model.auxiliary_head.update(in_channels=DIMS[2], channels=16)
        return
    model.neck.in_channels = list(DIMS)
    model.train_cfg.rpn_proposal.update(nms_pre=50, max_per_img=16)
    rcnn = model.train_cfg.rcnn
    for stage in rcnn if isinstance(rcnn, list) else [rcnn]:
        stage.sampler.num = 8


def make_segmentation_sample(num_classes):
    from mmseg.structures import SegDataSample

    sample = SegDataSample(metainfo=dict(img_shape=(64, 64)))
    sample.gt_sem_seg = PixelData(data=torch.randint(0, num_classes, (1, 64, 64)))
    return sample


def make_detection_sample():
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks

    mask = torch.zeros(64, 64, dtype=torch.uint8)
    mask[8:40, 16:48] = 1
    meta = dict(img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1.0, 1.0))
    sample = DetDataSample(metainfo=meta)
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[16.0, 8.0, 48.0, 40.0]]),
        labels=torch.tensor([0]),
        masks=BitmapMasks([mask.numpy()], 64, 64),
    )
    sample.ignored_instances = InstanceData(
        bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
    )
    return sample


def make_batch(cfg: Config):
    """Two random images with labels, or with one object each."""
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    if cfg.default_scope == 'mmseg':
        num_classes = cfg.model.decode_head.num_classes
        samples = [make_segmentation_sample(num_classes) for _ in images]
    else:
        samples = [make_detection_sample() for _ in images]
    return dict(inputs=images, data_samples=samples)


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
def test_step_changes_all_of_the_backbone(name, read_config):
    cfg = read_config(name)
    shrink(cfg)
    model = MODELS.build(cfg.model).train()
    before = {key: parameter.clone() for key, parameter in model.backbone.named_parameters()}
    losses = model.train_step(make_batch(cfg), build_wrapper(model, cfg))
    assert all(value.isfinite().all() for value in losses.values())
    unchanged = set()
    for key, parameter in model.backbone.named_parameters():
        if torch.equal(before[key], parameter):
            unchanged.add(key.split('.')[0])
    # A neck that starts at level 1 does not read the first feature map.
    unread = {'norm0'} if cfg.model.get('neck', {}).get('start_level') else set()
    assert unchanged <= unread
