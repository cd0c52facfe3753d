"""Run a config as it is, but on drawn sample scenes, with a short schedule and small images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from convnext_dense.apis.config import LOADERS, ConfigError, iter_datasets
from convnext_dense.apis.shorten import shorten_run, shrink_images, walk
from convnext_dense.checkpoints.sources import is_remote
from convnext_dense.data import ade20k, coco, imagenet

ROOT = Path('data/sample')


@dataclass(frozen=True)
class Sample:
    """Drawn scenes that stand in for a data set.

    Attributes:
        folder: of the scenes, under ``ROOT``.
        ensure: writes them there unless they are there already.
        place: points a config's data set at them: (data set, folder, whether it is for training).
    """

    folder: Path
    ensure: Callable[[Path], bool]
    place: Callable[[ConfigDict, Path, bool], None]


def _place_ade20k(dataset: ConfigDict, root: Path, training: bool) -> None:
    dataset.data_root = str(root)


def _place_coco(dataset: ConfigDict, root: Path, training: bool) -> None:
    classes = (dataset.get('metainfo') or {}).get('classes')
    if classes and not set(classes) & set(coco.SAMPLE_CLASSES):
        raise ConfigError(
            f'--sample has scenes with {", ".join(coco.SAMPLE_CLASSES)}; this config looks for '
            f'{", ".join(classes[:3])}. Run it on its own data, without --sample.'
        )
    split = 'train' if training else 'val'
    dataset.update(
        data_root=str(root),
        ann_file=f'annotations/instances_{split}2017.json',
        data_prefix=ConfigDict(img=f'{split}2017/'),
    )


def _place_imagenet(dataset: ConfigDict, root: Path, training: bool) -> None:
    dataset.data_root = str(root)
    dataset.transform.input_size = 64  # the pictures have 72 to 96 pixels a side
    dataset.indices = 40


_IMAGENET = Sample(imagenet.SAMPLE_FOLDER, imagenet.ensure_sample, _place_imagenet)
# By the type of the data set, without its scope.
SAMPLES = {
    'ADE20KDataset': Sample(ade20k.SAMPLE_FOLDER, ade20k.ensure_sample, _place_ade20k),
    'CocoDataset': Sample(coco.SAMPLE_FOLDER, coco.ensure_sample, _place_coco),
    'ImageNet': _IMAGENET,
    'ImageNet22k': _IMAGENET,
}


def use_sample(cfg: Config, root: Path = ROOT) -> None:
    """Point ``cfg`` at the sample data (written if it is not there) and make its run short enough for two CPU cores.

    Changed: where the data are, sizes of crops, resizing and sliding windows, batch size, number of iterations or of
    epochs and images, with the schedule and intervals in proportion. Weights on the web are not loaded: the run starts
    from random ones.

    Raises:
        ConfigError: a data set without a sample, or a run that is counted neither in iterations nor in epochs.
    """
    for name in (name for name in LOADERS if cfg.get(name)):
        for dataset in iter_datasets(cfg, [name]):
            _use_scenes(cfg, dataset, root, training=name == 'train_dataloader')
    shrink_images(cfg)
    shorten_run(cfg)
    _start_from_random_weights(cfg)


def _use_scenes(cfg: Config, dataset: ConfigDict, root: Path, training: bool) -> None:
    kind = dataset.type.rpartition('.')[2]
    if kind not in SAMPLES:
        raise ConfigError(
            f'--sample has scenes for {", ".join(SAMPLES)}; this config reads {dataset.type}. '
            'Run it on its own data, without --sample.'
        )
    sample = SAMPLES[kind]
    try:
        sample.ensure(root / sample.folder)
    except FileExistsError as error:
        raise ConfigError(str(error)) from error
    sample.place(dataset, root / sample.folder, training)
    for evaluator in walk([cfg.get('val_evaluator'), cfg.get('test_evaluator')]):
        if evaluator.get('ann_file') and dataset.get('ann_file') and not training:
            evaluator.update(
                ann_file=str(root / sample.folder / dataset.ann_file), format_only=False
            )


def _start_from_random_weights(cfg: Config) -> None:
    for node in walk(cfg.model):
        source = str((node.get('init_cfg') or {}).get('checkpoint', ''))
        if is_remote(source):
            node.init_cfg = None
            print_log(f'--sample starts from random weights: {source} is not loaded.')
    if is_remote(cfg.get('load_from') or ''):
        cfg.load_from = None
