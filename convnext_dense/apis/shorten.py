"""Make the run of a config short and its images small, in proportion."""

from __future__ import annotations

from collections.abc import Iterator

from mmengine.config import Config

from convnext_dense.apis.config import LOADERS, ConfigError, iter_datasets

MAX_ITERS = 40
EPOCHS, IMAGES = 4, 20  # of a run that is counted in epochs; images of each epoch
CROP = 128  # pixels, of a segmentor
SCALE = (1280, 160)  # longest and shortest side, pixels: the scenes' short side is 192 to 256
# Where the transforms of detectors keep sizes in pixels.
_SIZES = ('scale', 'scales', 'img_scale', 'crop_size', 'size', 'random_size_range')


def shrink_images(cfg: Config) -> None:
    """Crops, sizes and sliding windows for the scenes: a short side of 160 pixels, crops of 128 for segmentors."""
    if any(node.get('type') == 'PackDetInputs' for node in walk(cfg.get('val_dataloader', {}))):
        _shrink_detection(cfg)
    else:
        _shrink_segmentation(cfg)


def _shrink_segmentation(cfg: Config) -> None:
    nodes = list(walk([cfg[key] for key in cfg]))
    base = next((min(node.scale) for node in nodes if node.get('type') == 'RandomResize'), None)
    for node in nodes:
        if node.get('type') == 'RandomCrop':
            node.crop_size = (CROP, CROP)
        elif node.get('type') in ('RandomResize', 'Resize') and 'scale' in node:
            ratio = min(node.scale) / (
                base or min(node.scale)
            )  # test-time augmentation keeps its ratios
            node.scale = tuple(round(side * ratio) for side in SCALE)
    if cfg.model.get('data_preprocessor', {}).get('size'):
        cfg.model.data_preprocessor.size = (CROP, CROP)
    test_cfg = cfg.model.get('test_cfg', {})
    if test_cfg.get('mode') == 'slide':  # a window of a crop's size, at the config's overlap
        ratio = CROP / test_cfg.crop_size[0]
        test_cfg.update(
            crop_size=(CROP, CROP), stride=tuple(round(s * ratio) for s in test_cfg.stride)
        )


def _shrink_detection(cfg: Config) -> None:
    """Every size in the pipelines, in the proportion in which the size at evaluation becomes 160 pixels."""
    resize = next(
        (
            node
            for node in walk(cfg.val_dataloader)
            if node.get('type') == 'Resize' and 'scale' in node
        ),
        None,
    )
    ratio = min(SCALE[1] / min(resize.scale), 1.0) if resize else 1.0

    def scaled(size):
        return type(size)(
            scaled(s) if isinstance(s, (tuple, list)) else max(round(s * ratio), 1) for s in size
        )

    outside = [
        cfg[key] for key in cfg if key != 'model'
    ]  # 'scales' of a model are those of anchors
    for node in walk([*outside, cfg.model.get('data_preprocessor')]):
        for key in _SIZES:
            if isinstance(node.get(key), (tuple, list)):
                node[key] = scaled(node[key])


def shorten_run(cfg: Config) -> None:
    """At most 40 iterations, or 4 epochs of 20 images; the schedule and all intervals keep their proportions.

    Raises:
        ConfigError: the run is counted neither in iterations nor in epochs.
    """
    if 'max_iters' in cfg.get('train_cfg', {}):
        _shorten(cfg, 'max_iters', MAX_ITERS)
    elif 'max_epochs' in cfg.get('train_cfg', {}):
        for dataset in iter_datasets(cfg, ['train_dataloader']):
            dataset.indices = IMAGES
        _shorten(cfg, 'max_epochs', EPOCHS)
    else:
        raise ConfigError(
            '--sample shortens runs that are counted in iterations or epochs (train_cfg.max_iters or '
            f'train_cfg.max_epochs); got train_cfg={cfg.get("train_cfg")}'
        )
    cfg.train_dataloader.batch_size = min(cfg.train_dataloader.batch_size, 2)
    for loader in (cfg[name] for name in LOADERS if cfg.get(name)):
        loader.num_workers = min(loader.get('num_workers', 0), 1)
        loader.persistent_workers = loader.num_workers > 0


def _shorten(cfg: Config, length: str, most: int) -> None:
    ratio = min(most / cfg.train_cfg[length], 1.0)
    schedulers = cfg.get('param_scheduler') or []
    for scheduler in schedulers if isinstance(schedulers, list) else [schedulers]:
        # a warm-up that is counted in iterations is a hundredth of a run of epochs, or less
        in_epochs = scheduler.get('by_epoch', True)
        own = ratio if in_epochs == (length == 'max_epochs') else 0.0
        _scale_scheduler(
            scheduler, own, scheduler.get('end', cfg.train_cfg[length]), least=1 if in_epochs else 2
        )
    for node in walk(cfg.get('custom_hooks') or []):
        if 'switch_epoch' in node:
            node.switch_epoch = round(node.switch_epoch * ratio)
        if 'decay' in node:  # an average over ten thousand steps would be what the run began with
            node.decay = min(node.decay, 0.9)
    if ratio == 1:
        return
    cfg.train_cfg.pop('dynamic_intervals', None)
    cfg.train_cfg.update({length: most, 'val_interval': most})
    cfg.merge_from_dict(
        {'default_hooks.checkpoint.interval': most, 'default_hooks.logger.interval': 10}
    )


def _scale_scheduler(scheduler, ratio: float, end: int, least: int) -> None:
    if ratio == 1:
        return
    start = round(scheduler.get('begin', 0) * ratio)
    scheduler.update(begin=start, end=max(round(end * ratio), start + least))
    if 'T_max' in scheduler:
        scheduler.T_max = max(round(scheduler.T_max * ratio), least)
    if 'milestones' in scheduler:
        scheduler.milestones = [max(round(step * ratio), 1) for step in scheduler.milestones]


def walk(node, seen: set | None = None) -> Iterator[dict]:
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
            yield from walk(child, seen)
