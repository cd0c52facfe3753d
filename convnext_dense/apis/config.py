"""A config made ready for this machine: options, data that is there, devices that exist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from convnext_dense.checkpoints.sources import is_remote
from convnext_dense.data.missing import why_missing
from convnext_dense.errors import ConfigError

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def load_config(path: str, options: dict | None = None, work_dir: str | None = None) -> Config:
    """Read ``path``, merge ``options`` (dotted keys and values) and set ``work_dir`` (``work_dirs/<name>`` if None).

    Raises:
        ConfigError: no such file, no valid config, or an option that does not fit it.
    """
    if not Path(path).is_file():
        near = ', '.join(sorted(str(p) for p in Path(path).parent.glob('*.py'))[:8]) or 'none'
        raise ConfigError(f'config {path} does not exist. Configs beside it: {near}.')
    try:
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(options or {})
    except Exception as error:  # a config is code: it raises anything
        raise ConfigError(f'config {path} cannot be read or changed as asked: {error}') from error
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(Path('work_dirs') / Path(path).stem)
    return cfg


def iter_datasets(cfg: Config, loaders=LOADERS) -> Iterator[ConfigDict]:
    """Every data set's config in the given loaders, wrappers (RepeatDataset, ConcatDataset, ...) opened."""
    pending = [cfg[name].dataset for name in loaders if cfg.get(name)]
    while pending:
        dataset = pending.pop(0)
        inner = dataset.get('dataset', dataset.get('datasets'))
        if inner is None:
            yield dataset
        else:
            pending[:0] = inner if isinstance(inner, list) else [inner]


def require_data(cfg: Config, loaders=LOADERS) -> None:
    """Stop at once, with what is expected where and how to get it, when a data set of ``cfg`` is not on disk.

    Raises:
        ConfigError: a known data set is missing or incomplete.
    """
    for dataset in iter_datasets(cfg, loaders):
        parts = (
            [dataset.ann_file, *(dataset.get('data_prefix') or {}).values()]
            if dataset.get('ann_file')
            else ([dataset.split] if dataset.get('split') else ())
        )  # evaluation needs no training images
        reason = why_missing(
            dataset.type, dataset.get('data_root') or '.', cfg.filename or 'CONFIG', parts
        )
        if reason:
            raise ConfigError(reason)


def use_amp(cfg: Config) -> None:
    """Mixed precision for the optimizer wrapper, if it is not already."""
    if cfg.optim_wrapper.get('type', 'OptimWrapper') == 'OptimWrapper':
        cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    elif cfg.optim_wrapper.type != 'AmpOptimWrapper':
        raise ConfigError(
            '--amp needs an optim_wrapper of type OptimWrapper or AmpOptimWrapper; '
            f'got {cfg.optim_wrapper.type}. Set mixed precision in the config itself.'
        )


def fit_to_machine(cfg: Config) -> None:
    """Without a GPU: single precision, as mmengine's mixed precision needs one, and no pinned memory; else as configured.

    Raises:
        ConfigError: several processes are asked for and there is no GPU: mmengine gives each process its own.
    """
    if torch.cuda.is_available():
        return
    for loader in (cfg[name] for name in LOADERS if cfg.get(name)):
        if loader.get('pin_memory'):  # memory for the way to a GPU; torch warns where there is none
            loader.pin_memory = False
    if cfg.get('launcher', 'none') != 'none':
        raise ConfigError(
            f'--launcher {cfg.launcher} gives each process a GPU of its own, and torch sees none here. '
            'Leave --launcher out to run in one process on the CPU.'
        )
    if cfg.get('optim_wrapper', {}).get('type') == 'AmpOptimWrapper':
        cfg.optim_wrapper.type = 'OptimWrapper'
        cfg.optim_wrapper.pop('loss_scale', None)
        cfg.optim_wrapper.pop('dtype', None)
        print_log('No GPU: training in single precision, not the mixed precision of the config.')


def require_checkpoint(path: str) -> str:
    """``path``, if it is a file, a folder or an address.

    Raises:
        ConfigError: no such file.
    """
    if is_remote(path) or Path(path).expanduser().exists():
        return path
    near = ', '.join(str(p) for p in sorted(Path(path).parent.glob('*.pth'))[:8]) or 'none'
    raise ConfigError(f'checkpoint {path} does not exist. Checkpoints beside it: {near}.')


def use_tta(cfg: Config) -> None:
    """Test with the config's test-time augmentation (``tta_model``, ``tta_pipeline``, ``tta_test_cfg``).

    Raises:
        ConfigError: the config has none.
    """
    if not cfg.get('tta_model') or not cfg.get('tta_pipeline'):
        raise ConfigError(
            '--tta needs tta_model and tta_pipeline in the config; see configs/_base_/ade20k.py'
        )
    for dataset in iter_datasets(cfg, ['test_dataloader']):
        dataset.pipeline = cfg.tta_pipeline
    if cfg.get('tta_test_cfg'):
        cfg.model.test_cfg = cfg.tta_test_cfg
    # Weights of a checkpoint are the averaged ones already; the hook's own copy would not find them inside tta_model.
    cfg.custom_hooks = [
        hook for hook in cfg.get('custom_hooks') or [] if not str(hook.type).endswith('EMAHook')
    ]
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
