"""Make the run of a config short and its images small, in proportion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmengine.config import Config, ConfigDict

from convnext_dense.apis.config import iter_datasets, iter_loaders
from convnext_dense.errors import ConfigError

MAX_ITERS = 40
# Of a run that is counted in epochs: their number, and the images of each.
EPOCHS = 4
IMAGES = 20
# Of a segmentor, in pixels.
CROP = 128
# Longest and shortest side in pixels. The short side of the scenes is 192 to 256.
SCALE = (1280, 160)
# Keys of a detector's transforms and preprocessor that hold sizes in pixels.
_SIZE_KEYS = ('scale', 'scales', 'img_scale', 'crop_size', 'size', 'random_size_range')
# The longest average of weights that a short run can fill: over about ten steps.
_MAX_EMA_DECAY = 0.9


def shrink_images(cfg: Config) -> None:
    """Resize images to a short side of 160 pixels; segmentors also get crops of 128 pixels."""
    nodes = walk(cfg.get('val_dataloader', {}))
    if any(node.get('type') == 'PackDetInputs' for node in nodes):
        _shrink_detection(cfg)
    else:
        _shrink_segmentation(cfg)


def _shrink_segmentation(cfg: Config) -> None:
    nodes = list(walk([cfg[key] for key in cfg]))
    base = _find_training_side(nodes)
    for node in nodes:
        kind = node.get('type')
        if kind == 'RandomCrop':
            node.crop_size = (CROP, CROP)
        elif kind in ('RandomResize', 'Resize') and 'scale' in node:
            # Scales of test-time augmentation keep their ratios to the training scale.
            ratio = 1.0 if base is None else min(node.scale) / base
            node.scale = tuple(round(side * ratio) for side in SCALE)
    preprocessor = cfg.model.get('data_preprocessor', {})
    if preprocessor.get('size'):
        preprocessor.size = (CROP, CROP)

    # A sliding window has the size of a crop and keeps the config's relative overlap.
    test_cfg = cfg.model.get('test_cfg', {})
    if test_cfg.get('mode') == 'slide':
        ratio = CROP / test_cfg.crop_size[0]
        stride = tuple(round(step * ratio) for step in test_cfg.stride)
        test_cfg.update(crop_size=(CROP, CROP), stride=stride)


def _find_training_side(nodes: Sequence[ConfigDict]) -> int | None:
    """Return the short side, in pixels, that training resizes to; None if it does not resize."""
    for node in nodes:
        if node.get('type') == 'RandomResize':
            return min(node['scale'])
    return None


def _shrink_detection(cfg: Config) -> None:
    """Scale every size by the ratio that makes the short side at evaluation 160 pixels."""
    ratio = _get_detection_ratio(cfg)
    # Not the whole model: its 'scales' are those of anchors.
    parts = [cfg[key] for key in cfg if key != 'model']
    parts.append(cfg.model.get('data_preprocessor'))
    for node in walk(parts):
        for key in _SIZE_KEYS:
            if isinstance(node.get(key), (tuple, list)):
                node[key] = _scale_sizes(node[key], ratio)


def _get_detection_ratio(cfg: Config) -> float:
    for node in walk(cfg.val_dataloader):
        if node.get('type') == 'Resize' and 'scale' in node:
            return min(min(SCALE) / min(node['scale']), 1.0)
    return 1.0


def _scale_sizes(sizes: tuple | list, ratio: float) -> tuple | list:
    """Scale sizes in pixels, nested as they come: ``(w, h)``, or a list of such pairs."""
    scaled = []
    for size in sizes:
        if isinstance(size, (tuple, list)):
            scaled.append(_scale_sizes(size, ratio))
        else:
            scaled.append(max(round(size * ratio), 1))
    return type(sizes)(scaled)


def shorten_run(cfg: Config) -> None:
    """Train for at most 40 iterations, or 4 epochs of 20 images; schedules keep their proportions.

    Raises:
        ConfigError: the run is counted neither in iterations nor in epochs.
    """
    train_cfg = cfg.get('train_cfg', {})
    if 'max_iters' in train_cfg:
        _shorten(cfg, 'max_iters', MAX_ITERS)
    elif 'max_epochs' in train_cfg:
        for dataset in iter_datasets(cfg, ['train_dataloader']):
            dataset.indices = IMAGES
        _shorten(cfg, 'max_epochs', EPOCHS)
    else:
        raise ConfigError(
            '--sample shortens runs that are counted in iterations or epochs '
            f'(train_cfg.max_iters or train_cfg.max_epochs); got train_cfg={cfg.get("train_cfg")}'
        )
    cfg.train_dataloader.batch_size = min(cfg.train_dataloader.batch_size, 2)
    for loader in iter_loaders(cfg):
        loader.num_workers = min(loader.get('num_workers', 0), 1)
        loader.persistent_workers = loader.num_workers > 0


def _shorten(cfg: Config, key: str, limit: int) -> None:
    """Limit ``train_cfg[key]``, and shorten schedules, intervals and hooks by the same ratio."""
    length = cfg.train_cfg[key]
    ratio = min(limit / length, 1.0)
    schedulers = cfg.get('param_scheduler') or []
    if not isinstance(schedulers, list):
        schedulers = [schedulers]
    for scheduler in schedulers:
        by_epoch = scheduler.get('by_epoch', True)
        counts_like_the_run = by_epoch == (key == 'max_epochs')
        # A warm-up counted in iterations is at most a hundredth of a run of epochs: it shrinks to
        # the least length.
        scale = ratio if counts_like_the_run else 0.0
        least = 1 if by_epoch else 2
        _shorten_scheduler(scheduler, scale, scheduler.get('end', length), least)
    for node in walk(cfg.get('custom_hooks') or []):
        if 'switch_epoch' in node:
            node.switch_epoch = round(node.switch_epoch * ratio)
        # An average over ten thousand steps would still hold the initial weights.
        if 'decay' in node:
            node.decay = min(node.decay, _MAX_EMA_DECAY)
    if ratio < 1:
        cfg.train_cfg.pop('dynamic_intervals', None)
        cfg.train_cfg.update({key: limit, 'val_interval': limit})
        hooks = 'default_hooks'
        cfg.merge_from_dict({f'{hooks}.checkpoint.interval': limit, f'{hooks}.logger.interval': 10})


def _shorten_scheduler(scheduler: ConfigDict, ratio: float, end: int, least: int) -> None:
    """Scale the beginning, end and milestones; at least ``least`` steps remain."""
    if ratio == 1:
        return
    begin = round(scheduler.get('begin', 0) * ratio)
    scheduler.update(begin=begin, end=max(round(end * ratio), begin + least))
    if 'T_max' in scheduler:
        scheduler['T_max'] = max(round(scheduler['T_max'] * ratio), least)
    if 'milestones' in scheduler:
        steps = [max(round(step * ratio), 1) for step in scheduler['milestones']]
        scheduler['milestones'] = steps


def walk(node: object, seen: set[int] | None = None) -> Iterator[ConfigDict]:
    """Yield every mapping inside ``node``, itself included; a shared one only once."""
    if seen is None:
        seen = set()
    if id(node) in seen:
        return
    seen.add(id(node))
    children: Sequence = ()
    if isinstance(node, dict):
        yield node
        children = list(node.values())
    elif isinstance(node, (list, tuple)):
        children = node
    for child in children:
        yield from walk(child, seen)
