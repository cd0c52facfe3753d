"""Rewrites an mmdet or mmseg config so that its backbone is ConvNeXt."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config

from convnext_dense.apis.config import load_config, require_checkpoint
from convnext_dense.errors import ConfigError
from convnext_dense.plug.channels import replace_backbone
from convnext_dense.plug.feature_maps import check_model, find_model, read_feature_maps
from convnext_dense.plug.recipe import (
    Recipe,
    get_checkpoint,
    get_recipe,
    get_statistics,
    get_training,
    has_warmup,
)
from convnext_dense.variants import Variant, get_variant

AUTHORS = 'authors'
_BY_HAND = """{reason}.
By hand, in your config: model.backbone = dict(_delete_=True, type='convnext_dense.ConvNeXt',
arch={arch!r}). It returns feature maps with {dims} channels at strides 4, 8, 16, 32, of which
out_indices chooses. Write these numbers wherever a neck or head asks for the channels of the
backbone, and custom_imports = dict(imports=['convnext_dense']). docs/plugging.md says more."""


@dataclass(frozen=True)
class Plugged:
    """A config that was written, and what the user should know.

    Attributes:
        path: of the new config.
        old: the config that it inherits, read.
        new: the new config, read.
        notes: sentences for the user.
    """

    path: Path
    old: Config
    new: Config
    notes: list[str]


def plug(
    path: str,
    arch: str,
    out: str,
    *,
    checkpoint: str | None = AUTHORS,
    output_stride: int | None = None,
    force: bool = False,
    check: bool = True,
) -> Plugged:
    """Write ``out``, a config that inherits ``path`` and has ConvNeXt as its backbone.

    Args:
        path: an mmdet or mmseg config. It is not changed.
        arch: a name in ``VARIANTS``.
        out: path of the new config.
        checkpoint: weights to start from, a file or an address; AUTHORS for theirs; None for random
            weights.
        output_stride: 8, 16 or 32; None keeps that of the old backbone.
        force: replace ``out`` if it exists.
        check: build the new model and run an image through it.

    Raises:
        ConfigError: ``out`` exists, ``path`` cannot be read, its backbone cannot be replaced (the
            message says what to do by hand), ``checkpoint`` does not exist, or the new model does
            not run. Nothing is written then.
    """
    target = Path(out)
    _check_target(Path(path), target, force)
    _check_inheritable(Path(path))
    if checkpoint is not None and checkpoint != AUTHORS:
        require_checkpoint(checkpoint)
    dims = _get_variant(arch).dims
    # One work_dir for both: its default is named after the file, which is not a difference.
    old = load_config(path, work_dir='-')
    try:
        overrides, notes = make_overrides(old, arch, checkpoint, output_stride)
    except ConfigError as error:
        raise ConfigError(_BY_HAND.format(reason=error, arch=arch, dims=dims)) from error
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'--out {target} cannot be written: {error}') from error

    # A relative path: the two files can be moved together.
    base = os.path.relpath(Path(path).resolve(), target.parent.resolve()).replace(os.sep, '/')
    settings = Config(dict(_base_=[base], **overrides)).pretty_text
    title = f'"""{Path(path).stem} with ConvNeXt, arch {arch}. Written by convnext-dense plug."""'
    # The draft stands beside the target, where the relative path of the base is right. It becomes
    # the target only if the new model runs.
    draft = target.with_name(f'_draft_of_{target.name}')
    try:
        draft.write_text(f'{title}\n\n{settings}', encoding='utf-8')
        new = load_config(str(draft), work_dir='-')
        if check:
            notes += check_model(new)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return Plugged(target, old, new, notes)


def make_overrides(
    cfg: Config, arch: str, checkpoint: str | None = AUTHORS, output_stride: int | None = None
) -> tuple[dict[str, Any], list[str]]:
    """What a config that inherits ``cfg`` has to change, and notes for the user.

    Args:
        cfg: an mmdet or mmseg config.
        arch: a name in ``VARIANTS``.
        checkpoint: as in :func:`plug`.
        output_stride: as in :func:`plug`.

    Raises:
        ConfigError: the backbone cannot be replaced, see
            :func:`convnext_dense.plug.channels.replace_backbone`.
    """
    if not isinstance(cfg.get('model'), dict):
        raise ConfigError(f'{cfg.filename} has no model')
    # The backbone: shape, channels of its readers, and weights with their input statistics.
    keys, model = find_model(cfg.model)
    maps = read_feature_maps(cfg, model.backbone)
    recipe = get_recipe(cfg, arch)
    arguments = _get_arguments(model.backbone, arch, recipe, checkpoint)
    changed = replace_backbone(model, maps, arch, output_stride, **arguments)
    for key in keys:
        changed = {key: changed}
    if 'init_cfg' in arguments:
        statistics = get_statistics(cfg.model)
        if statistics:
            changed['data_preprocessor'] = statistics

    # Everything outside the model.
    overrides: dict[str, Any] = dict(custom_imports=_get_imports(cfg), model=changed)
    overrides |= get_training(cfg, recipe, maps.names)
    if cfg.get('load_from'):
        overrides['load_from'] = None  # weights of the old model

    notes = list(_iter_notes(cfg, arch, arguments, recipe))
    if model.get('neck') and output_stride not in (None, maps.output_stride):
        notes.append(
            'The strides of the feature maps change: set those of anchors, points and RoI '
            'extractors (featmap_strides).'
        )
    return overrides, notes


def _check_target(path: Path, target: Path, force: bool) -> None:
    if target.suffix != '.py':
        raise ConfigError(f'--out must be a config, a file that ends in .py; got {target}')
    if target.resolve() == path.resolve():
        raise ConfigError(f'--out {target} is the config that is read; write to another file')
    if target.exists() and not force:
        raise ConfigError(f'{target} exists; --force writes over it')


def _check_inheritable(path: Path) -> None:
    try:
        is_lazy = path.is_file() and Config._is_lazy_import(str(path))
    except SyntaxError as error:
        raise ConfigError(f'config {path} cannot be read: {error}') from error
    if is_lazy:
        raise ConfigError(
            f'{path} is of the pure Python kind (read_base), which no text config can inherit; '
            'give the text config of the same name'
        )


def _get_variant(arch: str) -> Variant:
    try:
        return get_variant(arch)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _get_arguments(old: dict, arch: str, recipe: Recipe, checkpoint: str | None) -> dict[str, Any]:
    """Arguments of ConvNeXt besides its shape; ``in_channels`` and ``with_cp`` stay the same."""
    arguments: dict[str, Any] = dict(drop_path_rate=recipe.drop_path_rate)
    if not get_variant(arch).use_grn:
        arguments['layer_scale_init_value'] = 1.0  # as in the authors' dense recipes
    if old.get('in_channels', 3) != 3:
        arguments['in_channels'] = old['in_channels']
    if old.get('with_cp'):
        arguments['with_cp'] = True
    if checkpoint == AUTHORS:
        checkpoint = None if 'in_channels' in arguments else get_checkpoint(arch)
    if checkpoint:
        arguments['init_cfg'] = dict(type='Pretrained', checkpoint=checkpoint)
    return arguments


def _iter_notes(cfg: Config, arch: str, arguments: dict, recipe: Recipe) -> Iterator[str]:
    if 'init_cfg' not in arguments:
        yield (
            'The backbone starts from random weights. The authors published '
            f'{get_checkpoint(arch) or "none"} for {arch}, for images of three channels; '
            '--checkpoint takes any other.'
        )
    elif arguments['init_cfg']['checkpoint'] == get_checkpoint(arch) and arch.startswith('v2_'):
        yield "The authors' V2 weights are for non-commercial use (CC BY-NC 4.0)."
    yield f'lr {recipe.lr:g} is for 16 images a step, over all GPUs.'
    if not has_warmup(cfg):
        yield (
            'param_scheduler has no warm-up; the authors warm up linearly, over 1,500 iterations '
            'for segmentation and 500 for detection.'
        )


def _get_imports(cfg: Config) -> dict[str, list[str]]:
    old = (cfg.get('custom_imports') or {}).get('imports', [])
    if isinstance(old, str):
        old = [old]
    others = [name for name in old if name != 'convnext_dense']
    return dict(imports=['convnext_dense', *others])
