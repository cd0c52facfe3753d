"""Pretrain a classifier, then train a dense model from its weights and from random ones, all else being the same."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from convnext_dense.apis.checkpoints import keep_checkpoints_safe
from convnext_dense.apis.config import (
    ConfigError,
    fit_to_machine,
    iter_datasets,
    load_config,
    require_data,
)
from convnext_dense.apis.summary import get_last_scores
from convnext_dense.data.sample_folder import read_stamp
from convnext_dense.evaluation.scores import Scores, write_scores

ARMS = ('random', 'transferred')


def compare_transfer(
    config: str,
    checkpoint: str,
    seeds: Sequence[int],
    iters: int | None,
    ema: bool,
    work_dir: str | Path,
) -> dict[int, dict[str, dict]]:
    """Train ``config`` with each seed twice: from random weights and from the classifier's.

    Args:
        iters: of each run; None keeps the config's.
        ema: the averaged weights of ``checkpoint``; False: the plain ones.

    Returns:
        ``{seed: {'random': record, 'transferred': record}}``; records are those of :func:`train_part`.
    """
    runs: dict[int, dict[str, dict]] = {seed: {} for seed in seeds}
    for seed in seeds:
        for arm in ARMS:
            cfg = make_dense_config(
                config, seed, iters, checkpoint if arm == 'transferred' else None, ema
            )
            runs[seed][arm] = train_part(cfg, Path(work_dir) / f'{arm}_seed{seed}')
    return runs


def make_dense_config(
    config: str, seed: int, iters: int | None, checkpoint: str | None = None, ema: bool = True
) -> Config:
    """``config`` with this seed and length, validated once, at the end; from ``checkpoint`` if one is given.

    Raises:
        ConfigError: ``iters`` is below 1, or for a config that does not count in iterations.
    """
    cfg = load_config(config)
    cfg.merge_from_dict({'randomness.seed': seed})
    cfg.model.backbone.init_cfg = checkpoint and ConfigDict(
        type='Pretrained', checkpoint=checkpoint, ema=ema
    )
    if iters is not None:
        _set_length(cfg, iters)
    return cfg


def _set_length(cfg: Config, iters: int) -> None:
    """``iters`` iterations; schedules that last until the end still do, a warm-up stays as long as it is."""
    old = cfg.get('train_cfg', {}).get('max_iters')
    if iters < 1 or not old:
        raise ConfigError(
            f'iters must be at least 1, and {cfg.filename} must have train_cfg.max_iters; got iters='
            f'{iters} and train_cfg={cfg.get("train_cfg")}'
        )
    for scheduler in cfg.param_scheduler:
        if scheduler.get('end', old) >= old:
            scheduler.end = iters + scheduler.get('end', old) - old
    cfg.train_cfg.update(max_iters=iters, val_interval=iters)
    cfg.merge_from_dict({'default_hooks.checkpoint.interval': iters})


def train_part(cfg: Config, work_dir: str | Path) -> dict:
    """Train ``cfg`` in ``work_dir``, unless the same run ended there before; its record, also in ``scores.json``.

    The same: config, first weights, sample data and number of threads, and the last checkpoint is still there.

    Returns:
        ``metrics`` (the last validation's), ``checkpoint``, ``cpu_seconds`` (the processor's, in user code; a loader's
        worker that outlives its part counts in a later one), ``seconds`` (of the clock), ``threads``, ``date``,
        ``config`` and ``settings``, a digest.
    """
    fit_to_machine(cfg)
    require_data(cfg)
    keep_checkpoints_safe(cfg)
    path, settings = Path(work_dir, 'scores.json'), _digest(cfg)
    record = json.loads(path.read_text()) if path.is_file() else {}
    if record.get('settings') == settings and Path(record['checkpoint']).is_file():
        print(f'Already there: {work_dir}, {_format(record["metrics"])}')
        return record
    path.unlink(missing_ok=True)
    cfg.work_dir, cfg.experiment_name = str(work_dir), str(work_dir).strip('/').replace('/', '_')
    clock, cpu = time.perf_counter(), _cpu_seconds()
    scores, checkpoint = _train(cfg)
    gc.collect()  # ends loaders' workers: their time counts once they are gone
    write_scores(
        Scores(scores),
        path,
        cfg.filename,
        checkpoint,
        settings=settings,
        threads=torch.get_num_threads(),
        cpu_seconds=round(_cpu_seconds() - cpu, 1),
        seconds=round(time.perf_counter() - clock, 1),
    )
    return json.loads(path.read_text())


def _train(cfg: Config) -> tuple[dict[str, float], str]:
    """The last validation's scores and the last checkpoint's path."""
    runner = Runner.from_cfg(cfg)
    runner.train()
    scores = {name: round(float(value), 4) for name, value in get_last_scores(runner).items()}
    return scores, str(Path(cfg.work_dir, Path(runner.message_hub.get_info('last_ckpt')).name))


def _digest(cfg: Config) -> str:
    """A name for everything that decides a run's scores."""
    parts = cfg.to_dict()
    parts.pop('work_dir', None)
    stamps = [
        read_stamp(Path(dataset.data_root))
        for dataset in iter_datasets(cfg)
        if dataset.get('data_root')
    ]
    digest = hashlib.sha256(
        json.dumps([parts, stamps, torch.get_num_threads()], default=str).encode()
    )
    first = (cfg.model.get('backbone') or {}).get('init_cfg')
    if first and Path(first.checkpoint).is_file():
        digest.update(Path(first.checkpoint).read_bytes())
    return digest.hexdigest()[:16]


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.children_user


def _format(metrics: dict[str, float]) -> str:
    return '  '.join(f'{name} {value:.2f}' for name, value in metrics.items())


def summarize_transfer(runs: dict[int, dict[str, dict]], metric: str = 'mIoU') -> dict:
    """Scores by seed, and of each arm the mean and the mean ``cpu_seconds`` of a run; ``difference``: of the means."""
    seeds = {
        str(seed): {arm: run[arm]['metrics'][metric] for arm in ARMS} for seed, run in runs.items()
    }
    means = {arm: round(mean(scores[arm] for scores in seeds.values()), 2) for arm in ARMS}
    cpu = {arm: round(mean(run[arm]['cpu_seconds'] for run in runs.values()), 1) for arm in ARMS}
    return dict(
        metric=metric,
        seeds=seeds,
        mean=means,
        difference=round(means['transferred'] - means['random'], 2),
        cpu_seconds=cpu,
    )


def print_transfer(summary: dict, console: Console | None = None) -> None:
    """The table of :func:`summarize_transfer`."""
    table = Table(title=f'{summary["metric"]} after the same training', title_justify='left')
    for i, title in enumerate(('seed', 'random weights', 'transferred', 'difference')):
        table.add_column(title, justify='right' if i else 'left')
    for name, scores in {**summary['seeds'], 'mean': summary['mean']}.items():
        if name == 'mean':
            table.add_section()
        first, second = (scores[arm] for arm in ARMS)
        table.add_row(name, f'{first:.2f}', f'{second:.2f}', f'{second - first:+.2f}')
    cpu = summary['cpu_seconds']
    table.add_section()
    table.add_row('processor time, s', *(f'{cpu[arm]:.0f}' for arm in ARMS), '')
    (console or Console()).print(table)
