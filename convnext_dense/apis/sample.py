"""Run a config as it is, but on the drawn sample scenes, with a short schedule and small crops."""
from __future__ import annotations

from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log

from convnext_dense.apis.config import LOADERS, ConfigError, iter_datasets
from convnext_dense.data.ade20k import SAMPLE_FOLDER, ensure_sample

ROOT = Path('data/sample')
# By the type of data set: the folder under ROOT, and what writes it.
WRITERS = {'ADE20KDataset': (SAMPLE_FOLDER, ensure_sample)}

MAX_ITERS = 40
CROP = 128  # pixels
SCALE = (1280, 160)  # longest and shortest side, pixels: the scenes' short side is 192 to 256


def use_sample(cfg: Config, root: Path = ROOT) -> None:
    """Point ``cfg`` at the sample data (written if it is not there) and make its run short enough for two CPU cores.

    Changed: ``data_root``, sizes of crops, resizing and sliding windows, batch size, number of iterations with its
    schedule and intervals in proportion. Weights on the web are not loaded: the run starts from random ones.

    Raises:
        ConfigError: a data set without a sample, or a run that is not counted in iterations.
    """
    if 'max_iters' not in cfg.get('train_cfg', {}):
        raise ConfigError('--sample shortens runs that are counted in iterations (train_cfg.max_iters); '
                          f'got train_cfg={cfg.get("train_cfg")}')
    for dataset in iter_datasets(cfg):
        kind = dataset.type.rpartition('.')[2]
        if kind not in WRITERS:
            raise ConfigError(f'--sample has scenes for {", ".join(WRITERS)}; this config reads {dataset.type}. '
                              'Run it on its own data, without --sample.')
        folder, write = WRITERS[kind]
        try:
            write(root / folder)
        except FileExistsError as error:
            raise ConfigError(str(error)) from error
        dataset.data_root = str(root / folder)
    _shrink_images(cfg)
    _shorten(cfg)
    _start_from_random_weights(cfg)


def _shrink_images(cfg: Config) -> None:
    nodes = list(_walk([cfg[key] for key in cfg]))
    base = next((min(node.scale) for node in nodes if node.get('type') == 'RandomResize'), None)
    for node in nodes:
        if node.get('type') == 'RandomCrop':
            node.crop_size = (CROP, CROP)
        elif node.get('type') in ('RandomResize', 'Resize') and 'scale' in node:
            ratio = min(node.scale) / (base or min(node.scale))  # test-time augmentation keeps its ratios
            node.scale = tuple(round(side * ratio) for side in SCALE)
    if cfg.model.get('data_preprocessor', {}).get('size'):
        cfg.model.data_preprocessor.size = (CROP, CROP)
    test_cfg = cfg.model.get('test_cfg', {})
    if test_cfg.get('mode') == 'slide':  # a window of a crop's size, at the config's overlap
        ratio = CROP / test_cfg.crop_size[0]
        test_cfg.update(crop_size=(CROP, CROP), stride=tuple(round(s * ratio) for s in test_cfg.stride))


def _shorten(cfg: Config) -> None:
    ratio = MAX_ITERS / cfg.train_cfg.max_iters
    if ratio < 1:
        schedulers = cfg.get('param_scheduler') or []
        for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
            start = round(scheduler.get('begin', 0) * ratio)
            end = scheduler.get('end', cfg.train_cfg.max_iters)
            scheduler.update(begin=start, end=max(round(end * ratio), start + 2))
        cfg.train_cfg.update(max_iters=MAX_ITERS, val_interval=MAX_ITERS)
        cfg.merge_from_dict({'default_hooks.checkpoint.interval': MAX_ITERS, 'default_hooks.logger.interval': 10})
    cfg.train_dataloader.batch_size = min(cfg.train_dataloader.batch_size, 2)
    for loader in (cfg[name] for name in LOADERS if cfg.get(name)):
        loader.num_workers = min(loader.get('num_workers', 0), 1)
        loader.persistent_workers = loader.num_workers > 0


def _start_from_random_weights(cfg: Config) -> None:
    for node in _walk(cfg.model):
        source = str((node.get('init_cfg') or {}).get('checkpoint', ''))
        if source.startswith(('http://', 'https://')):
            node.init_cfg = None
            print_log(f'--sample starts from random weights: {source} is not loaded.')
    if str(cfg.get('load_from') or '').startswith(('http://', 'https://')):
        cfg.load_from = None


def _walk(node, seen: set | None = None):
    """Every mapping inside ``node``, itself included; one that stands in several places comes once."""
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _walk(child, seen)
