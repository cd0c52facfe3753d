"""Compare training from the weights of a pretrained classifier with training from random ones."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from convnext_dense.apis.checkpoints import keep_checkpoints_safe
from convnext_dense.apis.config import fit_to_machine, iter_datasets, load_config, require_data
from convnext_dense.apis.summary import get_last_scores
from convnext_dense.data import read_stamp
from convnext_dense.errors import ConfigError
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
    """Train a dense model with each seed twice: from random weights and from the classifier's.

    Args:
        config: path or name of the dense model's config.
        checkpoint: of the classifier.
        seeds: one comparison each.
        iters: iterations of each run; None keeps the config's.
        ema: take the averaged weights of ``checkpoint``; False takes the plain ones.
        work_dir: gets one folder for each run.

    Returns:
        ``{seed: {'random': record, 'transferred': record}}``, with the records of
        :func:`train_part`.
    """
    runs: dict[int, dict[str, dict]] = {}
    for seed in seeds:
        random = make_dense_config(config, seed, iters)
        transferred = make_dense_config(config, seed, iters, checkpoint, ema)
        runs[seed] = {}
        for arm, cfg in zip(ARMS, (random, transferred), strict=True):
            runs[seed][arm] = train_part(cfg, Path(work_dir) / f'{arm}_seed{seed}')
    return runs


def make_dense_config(
    config: str, seed: int, iters: int | None, checkpoint: str | None = None, ema: bool = True
) -> Config:
    """Return the config of one run, with its seed, length and initial weights.

    Args:
        config: path or name of the dense model's config.
        seed: random seed of the run.
        iters: its iterations, with one validation at the end; None keeps the config's.
        checkpoint: of a classifier, for the backbone; None for random weights.
        ema: take the averaged weights of ``checkpoint``; False takes the plain ones.

    Raises:
        ConfigError: ``iters`` is below 1, or the config does not count in iterations.
    """
    cfg = load_config(config)
    cfg.merge_from_dict({'randomness.seed': seed})
    cfg.model.backbone.init_cfg = None
    if checkpoint:
        init_cfg = ConfigDict(type='Pretrained', checkpoint=checkpoint, ema=ema)
        cfg.model.backbone.init_cfg = init_cfg
    if iters is not None:
        _set_length(cfg, iters)
    return cfg


def _set_length(cfg: Config, iters: int) -> None:
    """Train for ``iters`` iterations; schedules still end with the run, a warm-up stays as is."""
    train_cfg = cfg.get('train_cfg', {})
    old = train_cfg.get('max_iters')
    if iters < 1 or not old:
        raise ConfigError(
            f'iters must be at least 1, and {cfg.filename} must have train_cfg.max_iters; '
            f'got iters={iters} and train_cfg={cfg.get("train_cfg")}'
        )
    for scheduler in cfg.param_scheduler:
        end = scheduler.get('end', old)
        if end >= old:
            scheduler.end = iters + end - old
    train_cfg.update(max_iters=iters, val_interval=iters)
    cfg.merge_from_dict({'default_hooks.checkpoint.interval': iters})


def train_part(cfg: Config, work_dir: str | Path) -> dict:
    """Train ``cfg`` in ``work_dir``, unless the same run was finished there before.

    A run is the same if config, initial weights, sample data and number of threads are, and if its
    last checkpoint still exists.

    Returns:
        The record of the run, which is also written to ``scores.json``: ``metrics`` of the last
        validation, ``checkpoint``, ``cpu_seconds`` (processor time in user code), ``seconds`` (by
        the clock), ``threads``, ``date``, ``config``, and ``settings``, a digest of what makes a
        run the same.
    """
    fit_to_machine(cfg)
    require_data(cfg)
    keep_checkpoints_safe(cfg)
    settings = _digest(cfg)
    path = Path(work_dir, 'scores.json')
    record = _read_record(path)
    if record.get('settings') == settings and Path(record['checkpoint']).is_file():
        print(f'Already there: {work_dir}, {_format(record["metrics"])}')
        return record

    path.unlink(missing_ok=True)
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = cfg.work_dir.strip('/').replace('/', '_')
    cpu_start = _get_cpu_seconds()
    start = time.perf_counter()
    scores, checkpoint = _train(cfg)
    # Ends the loaders' workers, whose processor time counts once they have ended. A worker that
    # outlives this run counts in the next.
    gc.collect()
    write_scores(
        Scores(scores),
        path,
        cfg.filename,
        checkpoint,
        settings=settings,
        threads=torch.get_num_threads(),
        cpu_seconds=round(_get_cpu_seconds() - cpu_start, 1),
        seconds=round(time.perf_counter() - start, 1),
    )
    return _read_record(path)


def _read_record(path: Path) -> dict:
    if not path.is_file():
        return {}
    return json.loads(path.read_text(encoding='utf-8'))


def _train(cfg: Config) -> tuple[dict[str, float | None], str]:
    """Train; return the scores of the last validation and the path of the last checkpoint."""
    runner = Runner.from_cfg(cfg)
    runner.train()
    scores: dict[str, float | None] = {}
    for name, value in get_last_scores(runner).items():
        scores[name] = round(float(value), 4)
    checkpoint = Path(runner.message_hub.get_info('last_ckpt')).name
    return scores, str(Path(cfg.work_dir, checkpoint))


def _digest(cfg: Config) -> str:
    """Return a digest of everything that decides the scores of a run."""
    settings = cfg.to_dict()
    settings.pop('work_dir', None)
    stamps = []
    for dataset in iter_datasets(cfg):
        if dataset.get('data_root'):
            stamps.append(read_stamp(Path(dataset.data_root)))
    text = json.dumps([settings, stamps, torch.get_num_threads()], default=str)
    digest = hashlib.sha256(text.encode())

    backbone = cfg.model.get('backbone') or {}
    init_cfg = backbone.get('init_cfg')
    if init_cfg and Path(init_cfg.checkpoint).is_file():
        digest.update(Path(init_cfg.checkpoint).read_bytes())
    return digest.hexdigest()[:16]


def _get_cpu_seconds() -> float:
    """Return the processor time in user code, of this process and of children that have ended."""
    times = os.times()
    return times.user + times.children_user


def _format(metrics: Mapping[str, float]) -> str:
    return '  '.join(f'{name} {value:.2f}' for name, value in metrics.items())


def summarize_transfer(runs: Mapping[int, Mapping[str, dict]], metric: str = 'mIoU') -> dict:
    """Compare the arms of :func:`compare_transfer`.

    Returns:
        ``metric``; ``seeds``, the scores by seed and arm; ``mean`` and ``cpu_seconds``, for each
        arm the means over the seeds; ``difference`` of the mean scores.
    """
    seeds: dict[str, dict[str, float]] = {}
    for seed, run in runs.items():
        seeds[str(seed)] = {arm: run[arm]['metrics'][metric] for arm in ARMS}
    means = {}
    cpu_seconds = {}
    for arm in ARMS:
        means[arm] = round(mean(scores[arm] for scores in seeds.values()), 2)
        cpu_seconds[arm] = round(mean(run[arm]['cpu_seconds'] for run in runs.values()), 1)
    return dict(
        metric=metric,
        seeds=seeds,
        mean=means,
        difference=round(means['transferred'] - means['random'], 2),
        cpu_seconds=cpu_seconds,
    )


def print_transfer(summary: Mapping, console: Console | None = None) -> None:
    """Print the result of :func:`summarize_transfer` as a table."""
    table = Table(title=f'{summary["metric"]} after the same training', title_justify='left')
    table.add_column('seed')
    for title in ('random weights', 'transferred', 'difference'):
        table.add_column(title, justify='right')
    for seed, scores in summary['seeds'].items():
        table.add_row(seed, *_format_row(scores))
    table.add_section()
    table.add_row('mean', *_format_row(summary['mean']))
    table.add_section()
    cpu = summary['cpu_seconds']
    table.add_row('processor time, s', *(f'{cpu[arm]:.0f}' for arm in ARMS), '')
    (console or Console()).print(table)


def _format_row(scores: Mapping[str, float]) -> list[str]:
    difference = scores['transferred'] - scores['random']
    return [f'{scores["random"]:.2f}', f'{scores["transferred"]:.2f}', f'{difference:+.2f}']
