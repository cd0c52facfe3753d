"""The tools as a user calls them: train, resume, evaluate with and without augmentation, predict; and their errors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from convnext_dense.data.ade20k import write_sample

ROOT = Path(__file__).resolve().parents[2]
# The config of `make train`, narrow and short.
CONFIG = """
_base_ = [{base!r}]
model = dict(
    backbone=dict(arch=dict(_delete_=True, depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))),
    decode_head=dict(in_channels=[8, 16, 24, 32], channels=8))
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(data_root={data!r}))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root={data!r}))
test_dataloader = val_dataloader
train_cfg = dict(max_iters=4, val_interval=4)
default_hooks = dict(checkpoint=dict(interval=2), logger=dict(interval=1))
custom_hooks = [dict(type='convnext_dense.LearningRateRangeHook'), dict(type='convnext_dense.ProgressHook'),
                dict(type='convnext_dense.SegmentationPictureHook', count=1)]
"""


def run_tool(name, *args, cwd, code=0):
    result = subprocess.run(
        [sys.executable, ROOT / 'tools' / f'{name}.py', *map(str, args)],
        cwd=cwd,
        timeout=300,
        capture_output=True,
        text=True,
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('user')
    write_sample(folder / 'ade', num_train=3, num_val=2)
    base = str(ROOT / 'configs' / 'upernet_convnext_atto_sample.py')
    (folder / 'tiny.py').write_text(CONFIG.format(base=base, data=str(folder / 'ade')))
    return folder


def read_scalars(folder):
    """Training lines of the run's JSON log, by iteration."""
    lines = [
        json.loads(line)
        for path in sorted(folder.rglob('vis_data/scalars.json'))
        for line in path.read_text().splitlines()
    ]
    return {line['step']: line for line in lines if 'loss' in line}


def test_train_resume_evaluate_predict(folder):
    out = run_tool('train', 'tiny.py', '--work-dir', 'run', '--seed', '1', cwd=folder)
    assert 'num_layers 4 for depths (1, 1, 2, 1)' in out and 'Done. ' in out and 'mIoU' in out
    assert '\r' not in out and '\x1b' not in out  # no terminal: plain lines
    scalars = read_scalars(folder / 'run')
    assert sorted(scalars) == [1, 2, 3, 4] and all(
        line['min_lr'] < line['max_lr'] for line in scalars.values()
    )
    assert [p.name for p in (folder / 'run' / 'pictures').iterdir()] == ['ADE_val_00000001.png']

    out = run_tool(
        'train',
        'tiny.py',
        '--work-dir',
        'run',
        '--resume',
        '--cfg-options',
        'train_cfg.max_iters=6',
        cwd=folder,
    )
    assert 'resumed epoch: 0, iter: 4' in out
    assert sorted(read_scalars(folder / 'run')) == [1, 2, 3, 4, 5, 6]
    checkpoint = folder / 'run' / 'iter_6.pth'

    plain = run_tool('test', 'tiny.py', checkpoint, '--work-dir', 'plain', cwd=folder)
    augmented = run_tool(
        'test', 'tiny.py', checkpoint, '--work-dir', 'augmented', '--tta', cwd=folder
    )
    scores = [
        [line for line in text.splitlines() if line.startswith('Done.')][0]
        for text in (plain, augmented)
    ]
    assert all('mIoU' in score for score in scores) and scores[0] != scores[1]

    images = folder / 'ade' / 'images' / 'validation'
    run_tool('predict', 'tiny.py', checkpoint, images, '--out', 'drawn', cwd=folder)
    assert len(list((folder / 'drawn').glob('*.png'))) == 2


def test_errors_are_one_clear_line(folder):
    import torch

    torch.save(dict(state_dict={'w': torch.ones(1)}, meta={}), folder / 'other.pth')
    (folder / 'text.pth').write_text('no weights')
    for args, words in [
        (('train', 'absent.py'), 'absent.py does not exist'),
        (('test', 'tiny.py', 'absent.pth'), 'absent.pth does not exist'),
        (('test', 'tiny.py', 'other.pth'), 'other.pth does not fit the model'),
        (
            ('predict', 'tiny.py', 'text.pth', folder / 'ade' / 'images' / 'training'),
            'cannot be read',
        ),
        (('train', ROOT / 'configs' / 'upernet_convnext_t_ade20k.py'), '--sample'),
    ]:
        out = run_tool(*args, cwd=folder, code=1)
        assert 'error: ' in out and words in out and 'Traceback' not in out


@pytest.mark.slow
def test_sample_runs_the_real_config(folder):
    out = run_tool(
        'train',
        ROOT / 'configs' / 'upernet_convnext_t_ade20k.py',
        '--sample',
        '--cfg-options',
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
        'model.decode_head.channels=32',
        cwd=folder,
    )
    assert 'Done. ' in out and 'is not loaded' in out
