"""Find a config, read it, and fit it to this machine: options, data, devices."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

import convnext_dense
from convnext_dense.checkpoints.sources import is_remote
from convnext_dense.data import explain_missing
from convnext_dense.errors import ConfigError

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def find_config_folder() -> Path:
    """Return the folder of the shipped configs: in the installed package, or in the checkout."""
    package = Path(convnext_dense.__file__).parent
    installed = package / 'configs'
    if installed.is_dir():
        return installed
    return package.parent / 'configs'


def list_configs() -> list[Path]:
    """Return the paths of the shipped configs, sorted by name."""
    return sorted(find_config_folder().glob('*.py'))


def resolve_config(name: str) -> str:
    """Return the path of a config.

    Args:
        name: an existing path; else the name of a shipped config, with or without ``.py``.

    Raises:
        ConfigError: there is neither; the message lists similar names.
    """
    path = Path(name)
    if path.is_file():
        return name
    shipped = {config.stem: config for config in list_configs()}
    stem = path.name.removesuffix('.py')
    is_bare_name = path.name == name
    if is_bare_name and stem in shipped:
        return str(shipped[stem])

    lines = [f'config {name} does not exist.']
    beside = [str(config) for config in sorted(path.parent.glob('*.py'))]
    if beside and not is_bare_name:
        lines.append(f'Configs in that folder: {", ".join(beside[:8])}.')
    similar = difflib.get_close_matches(stem, shipped, n=5)
    if similar:
        lines.append(f'Shipped configs with a similar name: {", ".join(similar)}.')
    lines.append('`convnext-dense recipes` lists all shipped configs.')
    raise ConfigError(' '.join(lines))


def load_config(name: str, options: dict | None = None, work_dir: str | None = None) -> Config:
    """Read a config.

    Args:
        name: path, or name of a shipped config; see :func:`resolve_config`.
        options: values by dotted key, merged into the config.
        work_dir: overrides the config's; ``work_dirs/<name>`` if neither is given.

    Raises:
        ConfigError: no such config, an invalid one, or an option that does not fit it.
    """
    path = resolve_config(name)
    try:
        cfg = Config.fromfile(path)
        cfg.merge_from_dict(options or {})
    except Exception as error:  # a config is Python code, which can raise anything
        raise ConfigError(f'config {path} cannot be read or changed as asked: {error}') from error
    default = Path('work_dirs', Path(path).stem)
    cfg.work_dir = work_dir or cfg.get('work_dir') or str(default)
    return cfg


def iter_loaders(cfg: Config, names: Sequence[str] = LOADERS) -> Iterator[ConfigDict]:
    """Yield the named loaders that the config has."""
    for name in names:
        if cfg.get(name):
            yield cfg[name]


def iter_datasets(cfg: Config, loaders: Sequence[str] = LOADERS) -> Iterator[ConfigDict]:
    """Yield the data sets of these loaders, and those inside wrappers such as RepeatDataset."""
    pending = [loader.dataset for loader in iter_loaders(cfg, loaders)]
    while pending:
        dataset = pending.pop(0)
        inner = dataset.get('dataset', dataset.get('datasets'))
        if inner is None:
            yield dataset
        elif isinstance(inner, list):
            pending[:0] = inner
        else:
            pending.insert(0, inner)


def require_data(cfg: Config, loaders: Sequence[str] = LOADERS) -> None:
    """Stop before a run starts if a data set is not on disk.

    Raises:
        ConfigError: a known data set is missing or incomplete; the message says where it was
            expected and how to get it.
    """
    for dataset in iter_datasets(cfg, loaders):
        root = dataset.get('data_root') or '.'
        reason = explain_missing(dataset.type, root, _name_for_command(cfg), _list_parts(dataset))
        if reason:
            raise ConfigError(reason)


def _list_parts(dataset: ConfigDict) -> list[str]:
    """Return the files and folders that a data set reads: evaluation needs no training images."""
    if dataset.get('ann_file'):
        return [dataset.ann_file, *(dataset.get('data_prefix') or {}).values()]
    if dataset.get('split'):
        return [dataset.split]
    return []


def _name_for_command(cfg: Config) -> str:
    """Return how a command names this config: a shipped one by its name, another by its path."""
    if not cfg.filename:
        return 'CONFIG'
    path = Path(cfg.filename)
    if path.resolve().parent == find_config_folder().resolve():
        return path.stem
    return str(path)


def use_amp(cfg: Config) -> None:
    """Train in mixed precision, if the config does not already.

    Raises:
        ConfigError: the config has another optimizer wrapper.
    """
    wrapper = cfg.optim_wrapper
    kind = wrapper.get('type', 'OptimWrapper')
    if kind == 'OptimWrapper':
        wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    elif kind != 'AmpOptimWrapper':
        raise ConfigError(
            '--amp needs an optim_wrapper of type OptimWrapper or AmpOptimWrapper; '
            f'got {kind}. Set mixed precision in the config itself.'
        )


def fit_to_machine(cfg: Config) -> None:
    """Without a GPU, train in single precision and without pinned memory.

    mmengine's mixed precision needs a GPU, and torch warns about pinned memory where there is none.

    Raises:
        ConfigError: a launcher starts several processes, and there is no GPU for them.
    """
    if torch.cuda.is_available():
        return
    launcher = cfg.get('launcher', 'none')
    if launcher != 'none':
        raise ConfigError(
            f'--launcher {launcher} gives each process its own GPU, and torch finds none here. '
            'Leave --launcher out to run in one process on the CPU.'
        )
    for loader in iter_loaders(cfg):
        if loader.get('pin_memory'):
            loader.pin_memory = False
    wrapper = cfg.get('optim_wrapper', {})
    if wrapper.get('type') == 'AmpOptimWrapper':
        wrapper.type = 'OptimWrapper'
        wrapper.pop('loss_scale', None)
        wrapper.pop('dtype', None)
        print_log('No GPU: training in single precision, not the mixed precision of the config.')


def require_checkpoint(path: str) -> str:
    """Return ``path`` if it is an existing file or folder, or an address.

    Raises:
        ConfigError: no such file.
    """
    if is_remote(path) or Path(path).expanduser().exists():
        return path
    beside = [str(other) for other in sorted(Path(path).parent.glob('*.pth'))]
    raise ConfigError(
        f'checkpoint {path} does not exist. '
        f'Checkpoints in that folder: {", ".join(beside[:8]) or "none"}.'
    )


def use_tta(cfg: Config) -> None:
    """Test with the config's test-time augmentation (``tta_model``, ``tta_pipeline``).

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
    # The weights in a checkpoint are already the averaged ones. The hook would look for its own
    # copy under the names of the unwrapped model.
    hooks = cfg.get('custom_hooks') or []
    cfg.custom_hooks = [hook for hook in hooks if not str(hook.type).endswith('EMAHook')]
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)
