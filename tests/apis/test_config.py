"""Configs are found, read and fitted to the machine; errors say what to do."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from convnext_dense import apis
from convnext_dense.apis.config import iter_datasets
from convnext_dense.apis.shorten import CROP, MAX_ITERS
from convnext_dense.data.sample import Sample
from convnext_dense.visualization.draw import draw_segmentation, paint

ROOT = Path(__file__).resolve().parents[2]
ADE20K = str(ROOT / 'configs' / 'upernet_convnext_t_ade20k.py')


def test_load_config_merges_and_names_the_work_dir():
    cfg = apis.load_config(ADE20K, {'optim_wrapper.optimizer.lr': 5e-5})
    assert cfg.optim_wrapper.optimizer.lr == 5e-5
    assert Path(cfg.work_dir) == Path('work_dirs/upernet_convnext_t_ade20k')
    assert apis.load_config(ADE20K, work_dir='here').work_dir == 'here'


@pytest.mark.parametrize('name', ['upernet_convnext_t_ade20k', 'upernet_convnext_t_ade20k.py'])
def test_a_shipped_config_is_found_by_its_name(name):
    assert apis.resolve_config(name) == ADE20K


def test_an_existing_path_wins_over_a_shipped_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('upernet_convnext_t_ade20k.py').touch()
    assert apis.resolve_config('upernet_convnext_t_ade20k.py') == 'upernet_convnext_t_ade20k.py'


def test_a_wrong_name_lists_similar_ones(tmp_path):
    with pytest.raises(apis.ConfigError, match=r'does not exist.* upernet_convnext_t_ade20k,'):
        apis.resolve_config('upernet_convnext_t_ade20')
    (tmp_path / 'near.py').touch()
    with pytest.raises(apis.ConfigError, match=r'absent.py does not exist.*near.py'):
        apis.load_config(str(tmp_path / 'absent.py'))


def test_a_missing_checkpoint_lists_those_beside_it(tmp_path):
    near = tmp_path / 'near.pth'
    near.touch()
    assert apis.require_checkpoint(str(near)) == str(near)
    with pytest.raises(apis.ConfigError, match=r'absent.pth does not exist.*near.pth'):
        apis.require_checkpoint(str(tmp_path / 'absent.pth'))


def test_images_are_found_in_folders(tmp_path):
    with pytest.raises(apis.ConfigError, match=r'no image at'):
        apis.find_images([str(tmp_path)])
    for name in ('b.PNG', 'a.jpg', 'notes.txt'):
        (tmp_path / name).touch()
    assert [path.name for path in apis.find_images([str(tmp_path)])] == ['a.jpg', 'b.PNG']


def test_missing_data_stops_at_once_and_says_what_to_do(tmp_path):
    root = str(tmp_path / 'nowhere')
    cfg = apis.load_config(ADE20K, {'train_dataloader.dataset.data_root': root})
    with pytest.raises(apis.ConfigError) as error:
        apis.require_data(cfg)
    advice = ('images/training', 'ADEChallengeData2016.zip', 'upernet_convnext_t_ade20k --sample')
    for words in (root, *advice):
        assert words in str(error.value)


def test_iter_datasets_opens_wrappers():
    plain = dict(type='ADE20KDataset')
    cfg = Config(
        dict(
            train_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=plain)),
            val_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=[plain, plain])),
        )
    )
    assert [dataset.type for dataset in iter_datasets(cfg)] == ['ADE20KDataset'] * 3


def test_amp():
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type='AdamW'))))
    apis.use_amp(cfg)
    assert cfg.optim_wrapper.type == 'AmpOptimWrapper' and cfg.optim_wrapper.loss_scale == 'dynamic'
    with pytest.raises(apis.ConfigError, match=r'got ApexOptimWrapper'):
        apis.use_amp(Config(dict(optim_wrapper=dict(type='ApexOptimWrapper'))))


@pytest.mark.skipif(torch.cuda.is_available(), reason='for machines without a GPU')
def test_without_a_gpu_the_run_is_in_single_precision_and_one_process():
    cfg = apis.load_config(ADE20K)
    apis.fit_to_machine(cfg)
    assert cfg.optim_wrapper.type == 'OptimWrapper' and 'loss_scale' not in cfg.optim_wrapper
    cfg.launcher = 'pytorch'
    with pytest.raises(apis.ConfigError, match=r'its own GPU'):
        apis.fit_to_machine(cfg)


def test_tta_comes_from_the_config():
    cfg = apis.load_config(ADE20K)
    apis.use_tta(cfg)
    assert cfg.model.type == 'SegTTAModel' and cfg.model.module.test_cfg == dict(mode='whole')
    assert cfg.test_dataloader.dataset.pipeline[1].type == 'TestTimeAug'
    with pytest.raises(apis.ConfigError, match=r'tta_model'):
        apis.use_tta(Config(dict(model=dict())))


def test_sample_changes_only_data_sizes_and_length(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(Sample, 'ensure', lambda sample, root: written.append(root))
    folder = tmp_path / 'ade' / 'ADEChallengeData2016'
    original, cfg = apis.load_config(ADE20K), apis.load_config(ADE20K)
    apis.use_sample(cfg, tmp_path)
    assert {d.data_root for d in iter_datasets(cfg)} == {str(folder)}
    assert set(written) == {folder}
    assert (
        cfg.model.backbone.init_cfg is None
        and original.model.backbone.init_cfg.type == 'Pretrained'
    )
    assert cfg.train_cfg.max_iters == MAX_ITERS and cfg.train_dataloader.num_workers <= 1
    assert all(s.end <= MAX_ITERS + 1 and s.end - s.begin >= 2 for s in cfg.param_scheduler)
    crops = [t.crop_size for t in cfg.train_dataloader.dataset.pipeline if t.type == 'RandomCrop']
    assert crops == [(CROP, CROP)] and cfg.model.data_preprocessor.size == (CROP, CROP)
    assert cfg.model.test_cfg == dict(mode='slide', crop_size=(CROP, CROP), stride=(85, 85))
    assert cfg.optim_wrapper == original.optim_wrapper
    assert {**cfg.model.backbone, 'init_cfg': 0} == {**original.model.backbone, 'init_cfg': 0}
    assert cfg.model.decode_head == original.model.decode_head


def test_sample_refuses_other_data():
    cfg = Config(
        dict(
            train_dataloader=dict(dataset=dict(type='CityscapesDataset')),
            train_cfg=dict(max_iters=9),
        )
    )
    with pytest.raises(
        apis.ConfigError, match=r'scenes for ADE20KDataset, .*; this config reads CityscapesDataset'
    ):
        apis.use_sample(cfg)
    with pytest.raises(apis.ConfigError, match=r'counted in iterations or epochs'):
        apis.shorten.shorten_run(Config(dict(train_cfg=dict(type='Loop'))))


def test_pictures_hold_the_panels_and_the_legend():
    palette = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    truth = np.zeros((40, 60), dtype=np.int64)
    truth[:, 30:], truth[0, 0] = 1, 255
    image = np.full((40, 60, 3), 200, dtype=np.uint8)
    picture = np.asarray(
        draw_segmentation(image, np.ones_like(truth), truth, ('a', 'b', 'c'), palette)
    )
    assert picture.shape[1] == 3 * 60 + 2 * 6
    assert picture[30, 10].tolist() == [200] * 3 and picture[30, 76].tolist() == [255, 0, 0]
    assert picture[30, 140].tolist() == [0, 255, 0] and picture[18, 66].tolist() == [0, 0, 0]
    colours = {
        tuple(c) for c in picture[60:].reshape(-1, 3)
    }  # the legend names the two classes seen, not the third
    assert {(255, 0, 0), (0, 255, 0)} <= colours and (0, 0, 255) not in colours
    assert paint(np.array([[2, 255]]), palette).tolist() == [[[0, 0, 255], [0, 0, 0]]]
