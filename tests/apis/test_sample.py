"""``--sample`` on detectors: changes to our configs and to mmdet's, and what is refused."""

from pathlib import Path

import pytest
from mmengine.config import Config

from convnext_dense import apis
from convnext_dense.apis.config import iter_datasets
from convnext_dense.apis.shorten import walk
from convnext_dense.data.sample import Sample

ROOT = Path(__file__).resolve().parents[2]
OURS = 'configs/mask_rcnn_convnext_t_coco.py'
THEIRS = [
    'retinanet/retinanet_r50_fpn_1x_coco.py',
    'rtmdet/rtmdet_tiny_8xb32-300e_coco.py',
    'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
    'dino/dino-4scale_r50_8xb2-12e_coco.py',
]


@pytest.fixture(autouse=True)
def no_writing(monkeypatch):
    monkeypatch.setattr(Sample, 'ensure', lambda sample, root: True)


def read(name):
    from mmengine.config import Config

    return Config.fromfile(ROOT / name) if name == OURS else Config(dict(_read_theirs(name)))


def _read_theirs(name):
    import mmdet

    return Config.fromfile(Path(mmdet.__file__).parent / '.mim' / 'configs' / name)


def sizes(cfg):
    """Every size in the pipelines and the preprocessor."""
    nodes = walk(
        [*(cfg[key] for key in cfg if key.endswith('dataloader')), cfg.model.data_preprocessor]
    )
    return [
        size
        for node in nodes
        for key in ('scale', 'scales', 'img_scale', 'crop_size', 'size')
        if key in node
        for size in (node[key] if isinstance(node[key], list) else [node[key]])
        if isinstance(size, tuple)
    ]


@pytest.mark.parametrize('name', [OURS, *THEIRS])
def test_a_detector_is_pointed_at_the_sample_and_short(name, tmp_path):
    original, cfg = read(name), read(name)
    apis.use_sample(cfg, tmp_path)
    root = str(tmp_path / 'coco')
    found = [(d.data_root, d.ann_file, d.data_prefix.img) for d in iter_datasets(cfg)]
    assert found == [
        (root, f'annotations/instances_{split}2017.json', f'{split}2017/')
        for split in ('train', 'val', 'val')
    ]
    assert (
        cfg.val_evaluator.ann_file
        == cfg.test_evaluator.ann_file
        == f'{root}/annotations/instances_val2017.json'
    )
    assert '://' not in str(cfg.model)
    if 'max_epochs' in original.train_cfg:
        assert cfg.train_cfg.max_epochs == 4 and [d.get('indices') for d in iter_datasets(cfg)] == [
            20,
            None,
            None,
        ]
    else:
        assert cfg.train_cfg.max_iters == 40
    assert (
        cfg.optim_wrapper == original.optim_wrapper and len(sizes(cfg)) == len(sizes(original)) > 0
    )
    assert all(max(size) <= 1024 and min(size) <= 400 for size in sizes(cfg))
    for key in ('roi_head', 'rpn_head', 'bbox_head', 'neck'):
        assert cfg.model.get(key) == original.model.get(key)


def test_sizes_and_schedule_keep_their_proportions(tmp_path):
    cfg = read(OURS)
    apis.use_sample(cfg, tmp_path)
    first, last = cfg.train_dataloader.dataset.pipeline[3].transforms
    assert first[0].scales[0] == (96, 267) and first[0].scales[-1] == (
        160,
        267,
    )  # 480 and 800 of 800
    assert last[1].crop_size == (77, 120)  # 384 and 600 of 800
    assert [t.scale for t in cfg.test_dataloader.dataset.pipeline if t.type == 'Resize'] == [
        (267, 160)
    ]
    assert [t.scale[1] for t in cfg.tta_pipeline[1].transforms[0]] == [128, 160, 192]
    warm_up, steps = cfg.param_scheduler
    assert (warm_up.begin, warm_up.end, steps.milestones) == (
        0,
        2,
        [3, 4],
    )  # of 4 epochs, as 27 and 33 of 36
    assert cfg.train_cfg.val_interval == cfg.default_hooks.checkpoint.interval == 4


def test_a_run_that_is_short_already_keeps_its_length_but_not_a_long_warm_up(tmp_path):
    cfg = read(OURS)
    cfg.merge_from_dict({'train_cfg.max_epochs': 1, 'default_hooks.checkpoint.interval': 1})
    apis.use_sample(cfg, tmp_path)
    assert (cfg.train_cfg.max_epochs, cfg.default_hooks.checkpoint.interval) == (1, 1)
    assert cfg.param_scheduler[0].end == 2 and cfg.param_scheduler[1].milestones == [27, 33]


def test_a_pipeline_switch_moves_along(tmp_path):
    cfg = read(THEIRS[1])
    apis.use_sample(cfg, tmp_path)
    assert [hook.switch_epoch for hook in cfg.custom_hooks if 'switch_epoch' in hook] == [
        4
    ]  # 280 of 300
    assert 'dynamic_intervals' not in cfg.train_cfg
    cosine = cfg.param_scheduler[1]
    assert (cosine.begin, cosine.end, cosine.T_max) == (2, 4, 2)


def test_other_classes_are_refused(tmp_path):
    cfg = read(OURS)
    for dataset in iter_datasets(cfg):
        dataset.metainfo = dict(classes=('nucleus',))
    with pytest.raises(
        apis.ConfigError, match=r'scenes with person, car, .*; this config looks for nucleus'
    ):
        apis.use_sample(cfg, tmp_path)
