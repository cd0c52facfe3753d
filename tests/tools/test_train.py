"""Train, resume, evaluate and predict with a segmentor, as a user does; and the errors."""

import json
from pathlib import Path

import pytest
import torch

from convnext_dense.data import RECORDS

ROOT = Path(__file__).resolve().parents[2]
# The config of `make train`, narrow and short.
CONFIG = """
_base_ = [{base!r}]
model = dict(
    backbone=dict(arch=dict(_delete_=True, depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))),
    decode_head=dict(in_channels=[8, 16, 24, 32], channels=8))
data = dict(data_root={data!r})
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=data)
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=data)
test_dataloader = val_dataloader
train_cfg = dict(max_iters=4, val_interval=4)
default_hooks = dict(checkpoint=dict(interval=2), logger=dict(interval=1))
custom_hooks = [
    dict(type='convnext_dense.LearningRateRangeHook'),
    dict(type='convnext_dense.ProgressHook'),
    dict(type='convnext_dense.SegmentationPictureHook', count=1)]
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('user')
    RECORDS['ade20k'].sample.write(folder / 'ade', num_train=3, num_val=2)
    base = str(ROOT / 'configs' / 'upernet_convnext_atto_sample.py')
    (folder / 'tiny.py').write_text(CONFIG.format(base=base, data=str(folder / 'ade')))
    return folder


@pytest.fixture(scope='module')
def trained(folder, run_tool):
    """What a training run of 4 iterations printed; its files are in ``folder / 'run'``."""
    return run_tool('train', 'tiny.py', '--work-dir', 'run', '--seed', '1', cwd=folder)


def read_scalars(folder):
    """Training lines of the run's JSON log, by iteration."""
    scalars = {}
    for path in sorted(folder.rglob('vis_data/scalars.json')):
        for text in path.read_text().splitlines():
            line = json.loads(text)
            if 'loss' in line:
                scalars[line['step']] = line
    return scalars


def find_scores(printed):
    (line,) = (line for line in printed.splitlines() if line.startswith('Done.'))
    return line


def test_train_prints_and_writes_its_results(folder, trained):
    assert 'num_layers 4 for depths (1, 1, 2, 1)' in trained
    assert 'mIoU' in find_scores(trained)
    assert '\r' not in trained and '\x1b' not in trained  # no terminal: plain lines
    scalars = read_scalars(folder / 'run')
    assert {1, 2, 3, 4} <= scalars.keys()
    assert all(line['min_lr'] < line['max_lr'] for line in scalars.values())
    pictures = [path.name for path in (folder / 'run' / 'pictures').iterdir()]
    assert pictures == ['ADE_val_00000001.png']


def test_resume_continues_from_the_last_checkpoint(folder, trained, command, monkeypatch):
    monkeypatch.chdir(folder)
    longer = ['--cfg-options', 'train_cfg.max_iters=6']
    out = command('train', 'tiny.py', '--work-dir', 'run', '--resume', *longer)
    assert 'resumed epoch: 0, iter: 4' in out
    assert sorted(read_scalars(folder / 'run')) == [1, 2, 3, 4, 5, 6]


# mmseg merges the augmented label maps so.
@pytest.mark.filterwarnings('ignore:The shape of value will convert')
def test_evaluation_with_and_without_augmentation(folder, trained, run_tool, command, monkeypatch):
    checkpoint = folder / 'run' / 'iter_4.pth'
    plain = run_tool('test', 'tiny.py', checkpoint, '--work-dir', 'plain', cwd=folder)
    monkeypatch.chdir(folder)
    augmented = command('test', 'tiny.py', checkpoint, '--work-dir', 'augmented', '--tta')
    assert 'mIoU' in find_scores(plain) and 'mIoU' in find_scores(augmented)
    assert find_scores(plain) != find_scores(augmented)
    assert (folder / 'augmented' / 'scores.json').is_file()


def test_predictions_are_drawn(folder, trained, run_tool):
    images = folder / 'ade' / 'images' / 'validation'
    run_tool('predict', 'tiny.py', 'run/iter_4.pth', images, '--out', 'drawn', cwd=folder)
    assert len(list((folder / 'drawn').glob('*.png'))) == 2


@pytest.mark.parametrize(
    'args, words',
    [
        (['train', 'absent.py'], 'absent.py does not exist'),
        (['test', 'tiny.py', 'absent.pth'], 'absent.pth does not exist'),
        (['test', 'tiny.py', 'other.pth'], 'other.pth does not fit the model'),
        (['predict', 'tiny.py', 'text.pth', 'ade/images/training'], 'cannot be read'),
        (['train', 'upernet_convnext_t_ade20k'], '--sample'),
    ],
)
def test_errors_are_messages(args, words, folder, command, monkeypatch):
    monkeypatch.chdir(folder)
    torch.save(dict(state_dict={'w': torch.ones(1)}, meta={}), 'other.pth')
    Path('text.pth').write_text('no weights')
    out = command(*args, code=1)
    assert 'error: ' in out and words in out
