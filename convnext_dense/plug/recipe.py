"""The authors' weights, input statistics and training settings for a config that gets ConvNeXt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from mmengine.config import Config, ConfigDict

_URL = 'https://dl.fbaipublicfiles.com/convnext/'
# What the authors' dense recipes start from: weights of ImageNet-1k, or -22k for large and xlarge.
_V1 = {
    'tiny': '1k_224',
    'small': '1k_224',
    'base': '1k_224',
    'large': '22k_224',
    'xlarge': '22k_224',
}
_V2 = ('atto', 'femto', 'pico', 'nano', 'tiny', 'base', 'large', 'huge')
_STATISTICS = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
# Images of a step, over all GPUs, that the authors' learning rates are for.
_BATCH = 16


@dataclass(frozen=True)
class Recipe:
    """Training settings of the authors.

    Attributes:
        lr: learning rate for 16 images a step.
        decay_rate: factor on the learning rate from a layer to the one before it.
        decay_type: 'layer_wise' or 'stage_wise'.
        drop_path_rate: stochastic depth at the last block.
    """

    lr: float
    decay_rate: float
    decay_type: str
    drop_path_rate: float


# facebookresearch/ConvNeXt semantic_segmentation/configs and object_detection/configs @ 048efce.
# For detection, tiny has a row for Mask R-CNN and one for Cascade Mask R-CNN. The other sizes were
# trained with Cascade Mask R-CNN only.
_SEGMENTATION = {
    'tiny': Recipe(1e-4, 0.9, 'stage_wise', 0.4),
    'small': Recipe(1e-4, 0.9, 'stage_wise', 0.3),
    'base': Recipe(1e-4, 0.9, 'stage_wise', 0.4),
    'large': Recipe(1e-4, 0.9, 'stage_wise', 0.4),
    'xlarge': Recipe(8e-5, 0.9, 'stage_wise', 0.4),
}
_CASCADE = {
    'tiny': Recipe(2e-4, 0.7, 'layer_wise', 0.4),
    'small': Recipe(2e-4, 0.7, 'layer_wise', 0.6),
    'base': Recipe(2e-4, 0.8, 'layer_wise', 0.7),
    'large': Recipe(1e-4, 0.7, 'layer_wise', 0.7),
    'xlarge': Recipe(1e-4, 0.7, 'layer_wise', 0.8),
}
_DETECTION = _CASCADE | {'tiny': Recipe(1e-4, 0.95, 'layer_wise', 0.4)}
# Drop path below tiny: facebookresearch/ConvNeXt-V2 TRAINING.md @ 2553895.
_DROP_PATH_BELOW_TINY = {'atto': 0.1, 'femto': 0.1, 'pico': 0.1, 'nano': 0.2}


def get_checkpoint(arch: str) -> str | None:
    """Address of the authors' ImageNet weights.

    None where they published none: V1 below tiny, xxlarge, V2 small.
    """
    if arch in _V1:
        return f'{_URL}convnext_{arch}_{_V1[arch]}.pth'
    size = arch.removeprefix('v2_')
    if arch.startswith('v2_') and size in _V2:
        return f'{_URL}convnextv2/im1k/convnextv2_{size}_1k_224_ema.pt'
    return None


def get_recipe(cfg: Config, arch: str) -> Recipe:
    """The authors' settings for ``arch`` and the task of ``cfg``.

    V2, for which they published none, gets those of V1 in the same size; xxlarge and huge get those
    of large; sizes below tiny get those of tiny with the drop path of their classifiers.
    """
    scope = str(cfg.model.get('type')).rpartition('.')[0]
    if 'mmseg' in (scope, cfg.get('default_scope')):
        table = _SEGMENTATION
    elif 'cascade' in str((cfg.model.get('roi_head') or {}).get('type')).lower():
        table = _CASCADE
    else:
        table = _DETECTION
    size = arch.removeprefix('v2_')
    if size in _DROP_PATH_BELOW_TINY:
        return replace(table['tiny'], drop_path_rate=_DROP_PATH_BELOW_TINY[size])
    return table.get(size, table['large'])


def get_statistics(model: ConfigDict) -> dict:
    """Overrides of ``model.data_preprocessor``: ImageNet's statistics in RGB, if others are set."""
    given = model.get('data_preprocessor') or {}
    if 'mean' not in given and isinstance(given.get('data_preprocessor'), dict):
        # A preprocessor for several branches, around another one.
        inner = get_statistics(given)
        return dict(data_preprocessor=inner) if inner else {}
    changed = {key: value for key, value in _STATISTICS.items() if given.get(key) != value}
    if changed and given.get('rgb_to_bgr'):
        changed['rgb_to_bgr'] = False
    return changed


def get_training(cfg: Config, recipe: Recipe, old_names: tuple[str, ...]) -> dict[str, Any]:
    """Overrides of ``optim_wrapper``, ``param_scheduler`` and ``auto_scale_lr``.

    ``custom_keys`` stay, except those that match a parameter in ``old_names``, which are the names
    of the old backbone.
    """
    old = cfg.get('optim_wrapper') or {}
    paramwise: dict[str, Any] = dict(decay_rate=recipe.decay_rate, decay_type=recipe.decay_type)
    # A custom key matches every parameter whose name contains it.
    custom_keys = {}
    for key, value in ((old.get('paramwise_cfg') or {}).get('custom_keys') or {}).items():
        if not any(key in name for name in old_names):
            custom_keys[key] = value
    if custom_keys:
        paramwise['custom_keys'] = custom_keys

    # Mixed precision, accumulation and clipping do not depend on the backbone.
    wrapper: dict[str, Any] = dict(_delete_=True, type=old.get('type', 'OptimWrapper'))
    for key in ('loss_scale', 'dtype', 'accumulative_counts', 'clip_grad'):
        if old.get(key) is not None:
            wrapper[key] = old[key]
    wrapper.update(
        optimizer=dict(type='AdamW', lr=recipe.lr, betas=(0.9, 0.999), weight_decay=0.05),
        constructor='convnext_dense.LayerDecayOptimWrapperConstructor',
        paramwise_cfg=paramwise,
    )

    overrides: dict[str, Any] = dict(optim_wrapper=wrapper)
    schedulers = _without_floors(cfg.get('param_scheduler'))
    if schedulers != cfg.get('param_scheduler'):
        overrides['param_scheduler'] = schedulers
    if (cfg.get('auto_scale_lr') or {}).get('base_batch_size', _BATCH) != _BATCH:
        overrides['auto_scale_lr'] = dict(base_batch_size=_BATCH)
    return overrides


def has_warmup(cfg: Config) -> bool:
    """Whether ``param_scheduler`` of ``cfg`` warms up."""
    schedulers = cfg.get('param_scheduler') or []
    if not isinstance(schedulers, list):
        schedulers = [schedulers]
    for scheduler in schedulers:
        kind = str(scheduler.get('type', ''))
        if kind in ('LinearLR', 'ConstantLR', 'OneCycleLR') or 'Warm' in kind:
            return True
    return False


def _without_floors(schedulers: Any) -> Any:
    """The schedulers with ``eta_min=0``.

    ``eta_min`` is one absolute rate for all layers, chosen for the old base rate: the rate of the
    stem may lie below it.
    """
    if not schedulers:
        return schedulers
    if not isinstance(schedulers, list):
        return _without_floors([schedulers])[0]
    changed = []
    for scheduler in schedulers:
        if scheduler.get('eta_min') and str(scheduler.get('type')).endswith('LR'):
            scheduler = dict(scheduler, eta_min=0.0)
        changed.append(scheduler)
    return changed
