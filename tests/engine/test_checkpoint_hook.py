"""Checkpoints of training are complete, and the last good one survives failures of the next."""

import os
import re
import signal
import subprocess
import sys

import pytest
from mmengine.runner import CheckpointLoader

from convnext_dense import apis
from convnext_dense.checkpoints import write
from convnext_dense.checkpoints.read import read_file
from convnext_dense.engine import CheckpointHook, checkpoint_hook


@pytest.fixture(autouse=True)
def mmengine_reads_by_ours(monkeypatch):
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda seconds: None)
    monkeypatch.setattr(CheckpointLoader, '_schemes', CheckpointLoader._schemes)
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')  # put back after the test
    apis.allow_training_checkpoints()


@pytest.fixture
def make_run(make_runner):
    """A toy run of ``max_iters`` that saves after each."""

    def make(max_iters, load_from=None, resume=False, validate=False, **hook):
        hooks = dict(
            checkpoint=dict(
                dict(type='convnext_dense.CheckpointHook', by_epoch=False, interval=1), **hook
            )
        )
        train_cfg = dict(
            type='IterBasedTrainLoop', max_iters=max_iters, val_interval=1 if validate else 100
        )
        without = {} if validate else dict(val_dataloader=None, val_cfg=None, val_evaluator=None)
        return make_runner(
            train_cfg, default_hooks=hooks, load_from=load_from, resume=resume, **without
        )

    return make


def checkpoints(folder):
    return sorted(path.name for path in folder.iterdir() if '.pth' in path.name)


def test_the_hook_is_mmengines_otherwise(make_run, tmp_path):
    make_run(3, max_keep_ckpts=2).train()
    assert checkpoints(tmp_path) == ['iter_2.pth', 'iter_3.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_3.pth')
    assert set(read_file(tmp_path / 'iter_3.pth')) == {
        'meta',
        'state_dict',
        'message_hub',
        'optimizer',
    }


def test_the_old_one_is_removed_after_the_new_one_is_there(make_run, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        checkpoint_hook,
        'written_atomically',
        lambda path: (
            seen.append((os.path.basename(path), checkpoints(tmp_path))),
            write.written_atomically(path),
        )[1],
    )
    make_run(3, max_keep_ckpts=1).train()
    assert seen == [
        ('iter_1.pth', []),
        ('last_checkpoint', ['iter_1.pth']),
        ('iter_2.pth', ['iter_1.pth']),
        ('last_checkpoint', ['iter_1.pth', 'iter_2.pth']),
        ('iter_3.pth', ['iter_2.pth']),
        ('last_checkpoint', ['iter_2.pth', 'iter_3.pth']),
    ]
    assert checkpoints(tmp_path) == ['iter_3.pth']


def test_the_best_one_is_removed_after_the_better_one_is_there(make_run, tmp_path, monkeypatch):
    from mmengine.evaluator import Evaluator

    scores = iter([0.1, 0.2, 0.3, 0.25])
    monkeypatch.setattr(Evaluator, 'evaluate', lambda self, size: {'acc': next(scores)})
    seen = []
    monkeypatch.setattr(
        checkpoint_hook,
        'written_atomically',
        lambda path: (
            seen.append((os.path.basename(path), checkpoints(tmp_path))),
            write.written_atomically(path),
        )[1],
    )
    make_run(4, validate=True, save_best='acc', max_keep_ckpts=1).train()
    assert checkpoints(tmp_path) == ['best_acc_iter_3.pth', 'iter_4.pth']
    assert ('best_acc_iter_2.pth', ['best_acc_iter_1.pth', 'iter_2.pth']) in seen
    assert ('best_acc_iter_3.pth', ['best_acc_iter_2.pth', 'iter_3.pth']) in seen


def test_a_full_disk_costs_nothing_that_was_there(make_run, tmp_path, monkeypatch):
    def fill(path):
        if path.name.startswith('.iter_3'):
            raise OSError(28, 'No space left on device')

    monkeypatch.setattr(write, '_sync', fill)
    with pytest.raises(OSError, match='No space left'):
        make_run(4, max_keep_ckpts=1).train()
    assert checkpoints(tmp_path) == ['iter_2.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_2.pth')
    monkeypatch.undo()


CRASH = """
import os, signal, sys
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader
from convnext_dense.checkpoints import write

class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Linear(4, 4)
    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.backbone(inputs).square().mean())

def die(path):
    if path.name.startswith('.iter_3'):
        os.truncate(path, path.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

write._sync = die
Runner._log_env = lambda self, env_cfg: None
Runner(Model(), sys.argv[1], train_dataloader=DataLoader([dict(inputs=torch.ones(4))] * 8),
       train_cfg=dict(by_epoch=False, max_iters=4),
       optim_wrapper=dict(optimizer=dict(type='SGD', lr=.1)),
       default_hooks=dict(checkpoint=dict(
           type='convnext_dense.CheckpointHook', by_epoch=False, interval=1, max_keep_ckpts=1))
       ).train()
"""


def test_killed_in_the_middle_of_saving(tmp_path):
    run = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', CRASH, str(tmp_path)], capture_output=True, text=True
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    names = checkpoints(tmp_path)
    assert names[1:] == ['iter_2.pth'] and re.fullmatch(
        r'\.iter_3\.pth\.\d+\.tmp', names[0]
    )  # half of it
    content = read_file(tmp_path / 'iter_2.pth')
    assert content['meta']['iter'] == 2 and 'backbone.weight' in content['state_dict']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'iter_2.pth')


def test_resumes_from_what_the_crash_left(make_run, tmp_path):
    make_run(2).train()
    (tmp_path / 'iter_3.pth').write_bytes(
        (tmp_path / 'iter_2.pth').read_bytes()[:1000]
    )  # as mmengine's hook leaves
    (tmp_path / 'last_checkpoint').write_text('')
    from mmengine.config import Config

    cfg = Config(dict(work_dir=str(tmp_path)))
    assert apis.resume_last(cfg) == str(tmp_path / 'iter_2.pth') and cfg.resume
    runner = make_run(4, load_from=cfg.load_from, resume=True)
    runner.train()
    assert runner.iter == 4 and (tmp_path / 'last_checkpoint').read_text() == str(
        tmp_path / 'iter_4.pth'
    )


def test_other_storage_is_left_to_mmengine():
    assert CheckpointHook().backend_args == dict(backend='convnext_dense.atomic')
    assert CheckpointHook(out_dir='s3://bucket/run').backend_args is None
    assert CheckpointHook(backend_args=dict(backend='local')).backend_args == dict(backend='local')
