"""Run a config on drawn sample scenes, with a short schedule and small images."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from convnext_dense.apis.config import LOADERS, iter_datasets
from convnext_dense.apis.shorten import shorten_run, shrink_images, walk
from convnext_dense.checkpoints.sources import is_remote
from convnext_dense.data import RECORDS, SAMPLE_ROOT, DatasetRecord, find_record
from convnext_dense.errors import ConfigError


def use_sample(cfg: Config, root: Path = SAMPLE_ROOT) -> None:
    """Point a config at the sample data and make its run short enough for two CPU cores.

    Writes the sample if it is not there. Changes where the data are; the sizes of crops, resizing
    and sliding windows; the batch size; the number of iterations, or of epochs and images, with the
    schedule and all intervals in proportion. Weights from the web are not loaded: the run starts
    from random ones.

    Args:
        cfg: the config, changed in place.
        root: folder of all samples.

    Raises:
        ConfigError: a data set without a sample, or a run that is counted neither in iterations
            nor in epochs.
        DataError: the sample's folder holds other files.
    """
    for loader in LOADERS:
        if cfg.get(loader):
            for dataset in iter_datasets(cfg, [loader]):
                _use_scenes(cfg, dataset, root, training=loader == 'train_dataloader')
    shrink_images(cfg)
    shorten_run(cfg)
    _start_from_random_weights(cfg)


def _use_scenes(cfg: Config, dataset: ConfigDict, root: Path, training: bool) -> None:
    """Point a data set, and the evaluators that read its annotations, at the sample."""
    sample = _find_record(dataset).sample
    _require_common_classes(dataset, sample.classes)
    folder = root / sample.folder
    sample.ensure(folder)
    dataset.data_root = str(folder)
    sample.adapt(dataset, training)
    if training or not dataset.get('ann_file'):
        return
    for evaluator in walk([cfg.get('val_evaluator'), cfg.get('test_evaluator')]):
        if evaluator.get('ann_file'):
            evaluator.update(ann_file=str(folder / dataset.ann_file), format_only=False)


def _find_record(dataset: ConfigDict) -> DatasetRecord:
    record = find_record(dataset.type)
    if record is None:
        known = ', '.join(record.config_type for record in RECORDS.values())
        raise ConfigError(
            f'--sample has scenes for {known}; this config reads {dataset.type}. '
            'Run it on its own data, without --sample.'
        )
    return record


def _require_common_classes(dataset: ConfigDict, sample_classes: tuple[str, ...]) -> None:
    """Raise ConfigError if the config chooses classes by name and the sample shows none of them."""
    classes = (dataset.get('metainfo') or {}).get('classes')
    if not classes or not sample_classes or set(classes) & set(sample_classes):
        return
    raise ConfigError(
        f'--sample has scenes with {", ".join(sample_classes)}; this config looks for '
        f'{", ".join(classes[:3])}. Run it on its own data, without --sample.'
    )


def _start_from_random_weights(cfg: Config) -> None:
    """Remove checkpoints on the web from the config, so that nothing is downloaded."""
    for node in walk(cfg.model):
        init_cfg = node.get('init_cfg') or {}
        source = str(init_cfg.get('checkpoint', ''))
        if is_remote(source):
            node.init_cfg = None
            print_log(f'--sample starts from random weights: {source} is not loaded.')
    if is_remote(cfg.get('load_from') or ''):
        cfg.load_from = None
