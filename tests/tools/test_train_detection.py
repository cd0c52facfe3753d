"""Train, evaluate and predict with a detector, as a user does; and mmdet's own on the sample."""

import json
import re
from pathlib import Path

import pytest

from convnext_dense.data import RECORDS

ROOT = Path(__file__).resolve().parents[2]
# The sample config, narrow and short.
CONFIG = """
_base_ = [{base!r}]
model = dict(
    backbone=dict(arch=dict(_delete_=True, depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))),
    neck=dict(in_channels=[8, 16, 24, 32]), test_cfg=dict(rcnn=dict(score_thr=0.01)))
data = dict(data_root={data!r})
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=data)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=data)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file={data!r} + '/annotations/instances_val2017.json')
test_evaluator = val_evaluator
train_cfg = dict(max_iters=4, val_interval=4)
param_scheduler = dict(_delete_=True, type='ConstantLR', factor=1.0, by_epoch=False)
default_hooks = dict(checkpoint=dict(interval=4), logger=dict(interval=1))
custom_hooks = [
    dict(type='convnext_dense.LearningRateRangeHook'),
    dict(type='convnext_dense.ProgressHook'),
    dict(type='convnext_dense.DetectionPictureHook', count=1, score_thr=0.)]
"""
# One of mmdet's own, with narrow heads so that it is quick.
RETINANET = """
_base_ = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
model = dict(backbone=dict(base_channels=8),
             neck=dict(in_channels=[8, 16, 32, 64], out_channels=16),
             bbox_head=dict(in_channels=16, feat_channels=16, stacked_convs=1),
             test_cfg=dict(score_thr=0.))
train_cfg = dict(max_epochs=1)
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('user')
    RECORDS['coco'].sample.write(folder / 'data' / 'sample' / 'coco', num_train=4, num_val=2)
    base = str(ROOT / 'configs' / 'mask_rcnn_convnext_atto_sample.py')
    (folder / 'tiny.py').write_text(
        CONFIG.format(base=base, data=str(folder / 'data' / 'sample' / 'coco'))
    )
    (folder / 'retinanet.py').write_text(RETINANET)
    return folder


def test_train_evaluate_predict(folder, run_tool, command, monkeypatch):
    out = run_tool('train', 'tiny.py', '--work-dir', 'run', '--seed', '1', cwd=folder)
    assert 'num_layers 4 for depths (1, 1, 2, 1)' in out
    number = r'[\d.-]+'
    scores = f'box AP {number}  box AP50 {number}  box AP75 {number}  mask AP {number}  mask AP50 '
    assert re.search(rf'Done\. {scores}', out)
    pictures = [path.name for path in (folder / 'run' / 'pictures').iterdir()]
    assert pictures == ['000000500001.png']
    (log,) = (folder / 'run').rglob('vis_data/scalars.json')
    lines = [json.loads(text) for text in log.read_text().splitlines()]
    losses = [line for line in lines if 'loss_mask' in line]
    assert [line['step'] for line in losses] == [1, 2, 3, 4]
    assert all(line['loss'] < 100 for line in losses)

    monkeypatch.chdir(folder)
    out = command('test', 'tiny.py', 'run/iter_4.pth', '--work-dir', 'plain')
    assert 'mask AP50' in out
    images = folder / 'data' / 'sample' / 'coco' / 'val2017'
    command('predict', 'tiny.py', 'run/iter_4.pth', images, '--out', 'drawn')
    assert len(list((folder / 'drawn').glob('*.png'))) == 2


@pytest.mark.slow
def test_a_detector_of_mmdet_runs_on_the_sample(folder, run_tool):
    """RetinaNet, counted in epochs; its weights on the web are not fetched."""
    out = run_tool('train', 'retinanet.py', '--sample', cwd=folder)
    assert 'torchvision://resnet18 is not loaded' in out
    assert 'Done. box AP ' in out and 'mask AP' not in out


@pytest.mark.slow
def test_sample_runs_the_real_config(folder, run_tool):
    # After so few iterations every score may lie below the threshold: count all detections.
    short = ['train_cfg.max_epochs=1', 'model.test_cfg.rcnn.score_thr=0']
    config = 'mask_rcnn_convnext_t_coco'
    out = run_tool('train', config, '--sample', '--cfg-options', *short, cwd=folder)
    assert 'mask AP50' in out and 'is not loaded' in out
