"""Classification: a resumed run equals an uninterrupted one; --sample on every config; tools."""

import shutil
from pathlib import Path

import pytest
import torch
from mmengine.runner import Runner
from torch.utils._pytree import keystr, tree_flatten_with_path

from convnext_dense import apis
from convnext_dense.data.imagenet_sample import SAMPLE
from convnext_dense.engine import EMAHook

# mmengine's schedules count batches, also where the optimizer takes a step after several.
pytestmark = pytest.mark.filterwarnings(
    r'ignore:Detected call of `scheduler.step\(\)` before:UserWarning'
)
ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / 'configs').glob('convnext_*.py'))
SMALL = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))


@pytest.fixture(scope='module')
def sample(tmp_path_factory):
    root = tmp_path_factory.mktemp('sample')
    SAMPLE.write(root / SAMPLE.folder, num_train=20, num_val=10)
    return root


def run(cfg, work_dir, resume=False):
    """Train a narrow model by ``cfg`` in this process; return the runner."""
    cfg.model.arch = SMALL
    cfg.work_dir = str(work_dir)
    cfg.resume = resume
    cfg.experiment_name = f'{work_dir.parent.name}_{work_dir.name}'
    apis.fit_to_machine(cfg)
    apis.allow_training_checkpoints()
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def load_sample_config(data, num_workers):
    """The sample's config with all random augmentation: three epochs of 2.5 steps each."""
    cfg = apis.load_config(str(ROOT / 'configs' / 'convnext_atto_sample.py'))
    cfg.model.update(drop_path_rate=0.5, dropout=0.2)
    cfg.model.data_preprocessor.update(
        mixup=dict(mixup_alpha=0.8, cutmix_alpha=1.0),
        random_erasing=dict(probability=0.5, mode='pixel'),
    )
    cfg.train_dataloader.dataset.transform.auto_augment = 'rand-m9-mstd0.5-inc1'
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.update(batch_size=4, num_workers=num_workers, persistent_workers=num_workers > 0)
        loader.dataset.data_root = str(data)
    cfg.optim_wrapper.update(accumulative_counts=2)
    cfg.train_cfg.update(max_epochs=3, val_interval=1)
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=-1, save_best=None)
    cfg.log_level = 'WARNING'
    return cfg


def state_of(runner):
    """Everything that decides how training continues, as tensors by name."""
    average = next(hook for hook in runner.hooks if isinstance(hook, EMAHook)).ema_model
    parts = dict(
        weights=runner.model.state_dict(),
        average=average.state_dict(),
        optimizer=runner.optim_wrapper.state_dict(),
        schedules=[scheduler.state_dict() for scheduler in runner.param_schedulers],
    )
    return {
        keystr(path): torch.as_tensor(leaf)
        for path, leaf in tree_flatten_with_path(parts)[0]
        if isinstance(leaf, (torch.Tensor, int, float))
    }


def test_a_resumed_run_equals_an_uninterrupted_one(sample, tmp_path):
    data = sample / SAMPLE.folder
    whole = run(load_sample_config(data, num_workers=0), tmp_path / 'whole')
    folder = tmp_path / 'resumed'
    folder.mkdir()
    shutil.copy(tmp_path / 'whole' / 'epoch_1.pth', folder)
    cfg = load_sample_config(data, num_workers=1)
    cfg.load_from = str(folder / 'epoch_1.pth')
    resumed = run(cfg, folder, resume=True)
    assert resumed.iter == whole.iter == 12
    assert {path.name for path in folder.glob('*.pth')} == {f'epoch_{i}.pth' for i in (1, 2, 3)}

    first, second = state_of(whole), state_of(resumed)
    assert first.keys() == second.keys() and len(first) > 300
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []
    plain, averaged = "['weights']['head.weight']", "['average']['module.head.weight']"
    assert not torch.equal(first[plain], first[averaged])
    for score in ('top1', 'top5', 'plain_top1', 'plain_top5'):
        name = f'val/{score}'
        values = [runner.message_hub.get_scalar(name).current() for runner in (whole, resumed)]
        assert values[0] == values[1]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_sample_shortens_every_config(sample, path):
    cfg = apis.load_config(str(path))
    apis.use_sample(cfg, sample)
    assert cfg.model.get('init_cfg') is None and cfg.train_cfg.max_epochs <= 4
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        if loader:
            assert loader.dataset.transform.input_size == 64 and loader.dataset.indices <= 40
            assert loader.dataset.data_root == str(sample / SAMPLE.folder)
    apis.require_data(cfg)


@pytest.mark.slow
@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_sample_runs_every_config(sample, path, tmp_path):
    cfg = apis.load_config(str(path))
    apis.use_sample(cfg, sample)
    runner = run(cfg, tmp_path / 'run')
    assert runner.epoch == cfg.train_cfg.max_epochs
    assert (tmp_path / 'run' / f'epoch_{runner.epoch}.pth').is_file()


@pytest.mark.slow
def test_train_and_evaluate_by_the_tools(tmp_path, run_tool):
    run_tool('prepare_data', 'sample', '--train', 20, '--val', 10, cwd=tmp_path)
    out = run_tool('prepare_data', 'imagenet', '--root', 'data/sample/imagenet', cwd=tmp_path)
    assert 'right: train: 20 images of 10 classes' in out
    config = 'convnext_t_in1k'
    options = ['--sample', '--cfg-options', 'model.arch=atto']
    out = run_tool('train', config, '--work-dir', 'run', *options, cwd=tmp_path)
    assert 'Done. ' in out and 'top1 ' in out and 'plain_top5 ' in out
    checkpoint = 'run/epoch_4.pth'
    out = run_tool('test', config, checkpoint, '--work-dir', 'test', *options, cwd=tmp_path)
    assert 'top5 ' in out
