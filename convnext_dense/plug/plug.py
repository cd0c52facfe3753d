"""Rewrites anybody's mmdet or mmseg config so that it runs on ConvNeXt."""

from __future__ import annotations

import copy
import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from convnext_dense.apis.config import ConfigError, load_config, require_checkpoint
from convnext_dense.apis.config_text import format_config, iter_changes
from convnext_dense.plug.maps import find_model, read_maps
from convnext_dense.plug.model import swap_backbone
from convnext_dense.plug.recipe import (
    Recipe,
    get_checkpoint,
    get_input,
    get_recipe,
    get_training,
    has_warmup,
)
from convnext_dense.variants import get_variant

AUTHORS = 'authors'
_BY_HAND = """{reason}.
By hand, in your config: model.backbone = dict(_delete_=True, type='convnext_dense.ConvNeXt', arch={arch!r}); it returns
maps of {dims} channels at strides 4, 8, 16, 32 (out_indices chooses). Write these numbers wherever a neck or head asks
for the channels of the backbone, and custom_imports = dict(imports=['convnext_dense']). docs/plugging.md says more."""


@dataclass(frozen=True)
class Plugged:
    """A config that was written: where, each changed setting as a line of a diff, and what the user should know."""

    path: Path
    changes: list[str]
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
    """Write ``out``, a config that inherits ``path`` and puts ConvNeXt in the place of its backbone.

    Args:
        path: an mmdet or mmseg config. It is left as it is.
        arch: a name of ``VARIANTS``.
        checkpoint: weights to start from, a file or an address; AUTHORS: theirs for ``arch``; None: random ones.
        output_stride: 8, 16 or 32; None keeps that of the backbone that goes.
        force: write over an ``out`` that exists.
        check: build the new model and run an image through it.

    Raises:
        ConfigError: ``out`` exists, ``path`` cannot be read, its backbone cannot be replaced (the message says what to
            do by hand), ``checkpoint`` does not exist, or the new model does not run. Nothing is written then.
    """
    target = Path(out)
    _check_target(Path(path), target, force)
    _check_inheritable(Path(path))
    if checkpoint not in (None, AUTHORS):
        require_checkpoint(checkpoint)
    cfg = load_config(
        path, work_dir='-'
    )  # named after the file otherwise, a difference of no interest
    dims = _get_variant(arch).dims
    try:
        overrides, notes = make_overrides(cfg, arch, checkpoint, output_stride)
    except ConfigError as error:
        raise ConfigError(_BY_HAND.format(reason=error, arch=arch, dims=dims)) from error
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'--out {target} cannot be written: {error}') from error
    base = os.path.relpath(Path(path).resolve(), target.parent.resolve()).replace(os.sep, '/')
    draft = target.with_name(
        f'_draft_of_{target.name}'
    )  # beside it, so that the relative path holds
    try:
        draft.write_text(
            format_config(
                f'{Path(path).stem} on ConvNeXt, arch {arch}. Written by tools/plug.py.',
                [base],
                overrides,
            ),
            encoding='utf-8',
        )
        new = load_config(str(draft), work_dir='-')
        notes += check_model(new) if check else []
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return Plugged(target, list(iter_changes(cfg.to_dict(), new.to_dict())), notes)


def make_overrides(
    cfg: Config, arch: str, checkpoint: str | None = AUTHORS, output_stride: int | None = None
) -> tuple[dict, list[str]]:
    """What to change in ``cfg``, as its heir would write it, and notes for the user.

    Raises:
        ConfigError: the backbone cannot be replaced; see :func:`convnext_dense.plug.model.swap_backbone`.
    """
    if not isinstance(cfg.get('model'), dict):
        raise ConfigError(f'{cfg.filename} has no model')
    keys, model = find_model(cfg.model)
    maps, recipe = read_maps(cfg, model.backbone), get_recipe(cfg, arch)
    arguments = _get_arguments(model.backbone, arch, recipe, checkpoint)
    swapped = swap_backbone(model, maps, arch, output_stride, **arguments)
    swapped = {keys[0]: swapped} if keys else swapped
    statistics = get_input(cfg.model) if 'init_cfg' in arguments else None
    if statistics:
        swapped['data_preprocessor'] = statistics
    overrides = dict(
        custom_imports=_get_imports(cfg), model=swapped, **get_training(cfg, recipe, maps.names)
    )
    if cfg.get('load_from'):
        overrides['load_from'] = None  # the old model's weights
    notes = list(_get_notes(cfg, arch, arguments, recipe))
    if model.get('neck') and output_stride not in (None, maps.output_stride):
        notes.append(
            'The strides of the maps change: set those of anchors, points, RoI extractors (featmap_strides).'
        )
    return overrides, notes


def check_model(cfg: Config, size: int = 128) -> list[str]:
    """Build the model of ``cfg`` with random weights and run a black image of ``size`` pixels through what reads maps.

    Returns a note when parameters of the backbone have no part in the output.

    Raises:
        ConfigError: it cannot be built or run.
    """
    try:
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            _, model_cfg = find_model(cfg.model)
            model = MODELS.build(copy.deepcopy(model_cfg))  # building writes into it
            model.eval()
            image = torch.zeros(1, model.backbone.in_channels, size, size)
            outputs = _run(model, image, size)
    except Exception as error:  # third parties' modules raise anything
        what = str(error) or traceback.extract_tb(error.__traceback__)[-1].line
        raise ConfigError(
            f'the new model fails on an image of {size} x {size} px: {type(error).__name__}: {what}. '
            'Nothing was written; --no-check writes it anyway.'
        ) from error
    sum(output.float().sum() for output in outputs).backward()
    idle = [name for name, parameter in model.backbone.named_parameters() if parameter.grad is None]
    return (
        [
            f'Parameters of the backbone without a part in the output: {", ".join(idle)}. DistributedDataParallel '
            'needs find_unused_parameters=True.'
        ]
        if idle
        else []
    )


def _run(model: torch.nn.Module, image: torch.Tensor, size: int) -> list[torch.Tensor]:
    maps = model.extract_feat(image)
    if not hasattr(model, 'encode_decode'):
        return list(maps)
    meta = dict(img_shape=(size, size), ori_shape=(size, size), pad_shape=(size, size))
    heads = getattr(model, 'auxiliary_head', None) or []
    heads = heads if isinstance(heads, torch.nn.ModuleList) else [heads] if heads else []
    return [model.encode_decode(image, [meta]), *(head(maps) for head in heads)]


def _check_target(path: Path, target: Path, force: bool) -> None:
    if target.suffix != '.py':
        raise ConfigError(f'--out must be a config, a file that ends in .py; got {target}')
    if target.resolve() == path.resolve():
        raise ConfigError(f'--out {target} is the config that is read; write to another file')
    if target.exists() and not force:
        raise ConfigError(f'{target} exists; --force writes over it')


def _check_inheritable(path: Path) -> None:
    try:
        lazy = path.is_file() and Config._is_lazy_import(str(path))
    except SyntaxError as error:
        raise ConfigError(f'config {path} cannot be read: {error}') from error
    if lazy:
        raise ConfigError(
            f'{path} is of the pure Python kind (read_base), which no text config can inherit; '
            'give the text config of the same name'
        )


def _get_variant(arch: str):
    try:
        return get_variant(arch)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _get_arguments(old: dict, arch: str, recipe: Recipe, checkpoint: str | None) -> dict:
    """What ConvNeXt gets besides its shape; of the old backbone, its ``in_channels`` and ``with_cp``."""
    arguments = dict(drop_path_rate=recipe.drop_path_rate)
    if not get_variant(arch).use_grn:
        arguments['layer_scale_init_value'] = 1.0  # the authors' dense recipes
    if old.get('in_channels', 3) != 3:
        arguments['in_channels'] = old['in_channels']
    if old.get('with_cp'):
        arguments['with_cp'] = True
    if checkpoint == AUTHORS:
        checkpoint = None if 'in_channels' in arguments else get_checkpoint(arch)
    if checkpoint:
        arguments['init_cfg'] = dict(type='Pretrained', checkpoint=checkpoint)
    return arguments


def _get_notes(cfg: Config, arch: str, arguments: dict, recipe: Recipe) -> Iterator[str]:
    if 'init_cfg' not in arguments:
        yield (
            f'The backbone starts from random weights. The authors published {get_checkpoint(arch) or "none"} for '
            f'{arch}, for images of three channels; --checkpoint takes any other.'
        )
    elif 'convnextv2' in arguments['init_cfg']['checkpoint']:
        yield "The authors' V2 weights are for non-commercial use (CC BY-NC 4.0)."
    yield f'lr {recipe.lr:g} is for 16 images a step, all GPUs together.'
    if not has_warmup(cfg):
        yield (
            'param_scheduler has no warm-up; the authors warm up linearly, over 1,500 iterations for segmentation '
            'and 500 for detection.'
        )


def _get_imports(cfg: Config) -> dict:
    old = (cfg.get('custom_imports') or {}).get('imports', [])
    old = [old] if isinstance(old, str) else list(old)
    return dict(imports=['convnext_dense', *(name for name in old if name != 'convnext_dense')])
