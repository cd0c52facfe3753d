"""What a config that gets a ConvNeXt needs besides: the authors' weights, input statistics and training settings."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mmengine.config import Config, ConfigDict

_FILES = 'https://dl.fbaipublicfiles.com/convnext/'
# What the authors' dense recipes start from: ImageNet-1k weights, ImageNet-22k ones for large and xlarge.
_V1 = {
    'tiny': '1k_224',
    'small': '1k_224',
    'base': '1k_224',
    'large': '22k_224',
    'xlarge': '22k_224',
}
_V2 = ('atto', 'femto', 'pico', 'nano', 'tiny', 'base', 'large', 'huge')
_INPUT = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
_BATCH = 16  # images that the authors' learning rates belong to


@dataclass(frozen=True)
class Recipe:
    """Learning rate at 16 images a step, its decay over the layers, and stochastic depth."""

    lr: float
    decay_rate: float
    decay_type: str
    drop_path_rate: float


# facebookresearch/ConvNeXt semantic_segmentation/configs and object_detection/configs @ 048efce. For detection tiny is
# Mask R-CNN's, and Cascade Mask R-CNN's has its own row; the others are Cascade Mask R-CNN's, the only ones there are.
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
_SMALLER = {'atto': 0.1, 'femto': 0.1, 'pico': 0.1, 'nano': 0.2}


def get_checkpoint(arch: str) -> str | None:
    """Address of the authors' ImageNet weights; None where they published none (V1 below tiny, xxlarge, V2 small)."""
    if arch in _V1:
        return f'{_FILES}convnext_{arch}_{_V1[arch]}.pth'
    name = arch.removeprefix('v2_')
    return (
        f'{_FILES}convnextv2/im1k/convnextv2_{name}_1k_224_ema.pt'
        if name != arch and name in _V2
        else None
    )


def get_recipe(cfg: Config, arch: str) -> Recipe:
    """The authors' settings for ``arch`` and the task of ``cfg``.

    They have none for V2, which gets V1's of the same size; for xxlarge and huge, which get large's; and below tiny,
    which gets tiny's with less stochastic depth, that of their classifiers.
    """
    scope = str(cfg.model.get('type')).rpartition('.')[0]
    table = _SEGMENTATION if 'mmseg' in (scope, cfg.get('default_scope')) else _DETECTION
    if 'cascade' in str((cfg.model.get('roi_head') or {}).get('type')).lower():
        table = _CASCADE
    size = arch.removeprefix('v2_')
    if size in _SMALLER:
        return replace(table['tiny'], drop_path_rate=_SMALLER[size])
    return table.get(size, table['large'])


def get_input(model: ConfigDict) -> dict:
    """Overrides of ``model.data_preprocessor``: ImageNet's statistics in RGB, where it has others."""
    given = model.get('data_preprocessor') or {}
    if 'mean' not in given and isinstance(
        given.get('data_preprocessor'), dict
    ):  # around another, for several branches
        inner = get_input(given)
        return dict(data_preprocessor=inner) if inner else {}
    changed = {key: value for key, value in _INPUT.items() if given.get(key) != value}
    if changed and given.get('rgb_to_bgr'):
        changed['rgb_to_bgr'] = False
    return changed


def get_training(cfg: Config, recipe: Recipe, old_names: tuple[str, ...]) -> dict:
    """Overrides of ``optim_wrapper``, and of ``param_scheduler`` and ``auto_scale_lr`` where they would not fit it.

    ``custom_keys`` stay, except those that are part of ``old_names``, the parameters of the backbone that goes.
    """
    old = cfg.get('optim_wrapper') or {}
    keys = {
        key: value
        for key, value in ((old.get('paramwise_cfg') or {}).get('custom_keys') or {}).items()
        if not any(key in name for name in old_names)
    }
    paramwise = dict(decay_rate=recipe.decay_rate, decay_type=recipe.decay_type)
    if keys:
        paramwise['custom_keys'] = keys
    kept = {
        key: old[key]
        for key in ('loss_scale', 'dtype', 'accumulative_counts', 'clip_grad')
        if old.get(key) is not None
    }
    overrides = dict(
        optim_wrapper=dict(
            _delete_=True,
            type=old.get('type', 'OptimWrapper'),
            **kept,
            optimizer=dict(type='AdamW', lr=recipe.lr, betas=(0.9, 0.999), weight_decay=0.05),
            constructor='convnext_dense.LayerDecayOptimWrapperConstructor',
            paramwise_cfg=paramwise,
        )
    )
    schedulers = _without_floors(cfg.get('param_scheduler'))
    if schedulers != cfg.get('param_scheduler'):
        overrides['param_scheduler'] = schedulers
    if (cfg.get('auto_scale_lr') or {}).get('base_batch_size', _BATCH) != _BATCH:
        overrides['auto_scale_lr'] = dict(base_batch_size=_BATCH)
    return overrides


def has_warmup(cfg: Config) -> bool:
    schedulers = cfg.get('param_scheduler') or []
    kinds = [
        scheduler.get('type', '')
        for scheduler in (schedulers if isinstance(schedulers, list) else [schedulers])
    ]
    return any(kind in ('LinearLR', 'ConstantLR', 'OneCycleLR') or 'Warm' in kind for kind in kinds)


def _without_floors(schedulers):
    """``eta_min`` is one absolute rate for all layers, made for the old base lr: the stem's may lie below it."""
    if not isinstance(schedulers, list):
        return _without_floors([schedulers])[0] if schedulers else schedulers
    return [
        dict(one, eta_min=0.0)
        if one.get('eta_min') and str(one.get('type')).endswith('LR')
        else one
        for one in schedulers
    ]
