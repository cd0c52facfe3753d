"""Strict loading of any ConvNeXt checkpoint into a backbone, a classifier, a detector or segmentor.

The whole pipe, in the order in which :func:`load_checkpoint` goes through it::

    read      read.py      bytes -> content, without running code
    unwrap    unwrap.py    content -> one state dict
    convert   convert.py   the file's layout -> our names
    match     match.py     which weight goes where -> LoadReport
    check     here         raise if a weight is damaged or missing
    apply     here         copy the values into the module
    report    report.py    what became of every weight
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from convnext_dense.checkpoints.convert import Converted, to_facebook
from convnext_dense.checkpoints.match import STEM_RULES, Rules, find_trunks, match, match_names
from convnext_dense.checkpoints.read import read_file
from convnext_dense.checkpoints.report import LoadReport, shorten
from convnext_dense.checkpoints.trunk import Trunk, measure_trunk
from convnext_dense.checkpoints.unwrap import Weights, unwrap
from convnext_dense.errors import CheckpointError
from convnext_dense.variants import Variant

# Optional fields of an init_cfg -> their values; None: any.
_FIELDS: dict[str, tuple | None] = {
    'prefix': None,
    'map_location': None,
    'ema': (None, True, False),
    'strict': (True, False),
    'in_channels': (None, *STEM_RULES),
    'keep_norm': (None, True, False),
}
_TRANSFORMERS_FINAL_EPS = 1e-12


def load_pretrained(module: nn.Module, init_cfg: Mapping[str, Any]) -> LoadReport:
    """Load ``dict(type='Pretrained', checkpoint=...)`` into a module, to train it from there.

    What the module holds decides what is loaded: a dense backbone takes trunk and output norms, a
    classifier its final norm and head too, a detector or segmentor everything. Some weights may
    stay as initialized, and are reported: the norms and the head of a backbone or classifier that
    the file does not hold, a last layer for another number of classes, and counters of batch norm.
    Everything else must be in the file.

    Args:
        module: a module whose parameters have our names.
        init_cfg: ``checkpoint``: path, https:// address, 'timm:NAME' or 'hf-hub:ORG/NAME'.
            ``prefix``: prefix of the model in the file ('backbone.'), None finds it.
            ``ema``: True takes averaged weights, False plain ones, None those that the library
            which wrote the file would load.
            ``strict``: False loads what fits; the report says what stays random.
            ``in_channels``: 'sum', 'repeat' or 'mean', see
            :func:`convnext_dense.checkpoints.match.adapt_stem`.
            ``keep_norm``: whether a classifier's final norm goes on the last feature map; None:
            only if it was trained on feature maps (DINOv3).
            ``map_location``: mmengine's, without effect: weights are copied to the module's device.

    Raises:
        CheckpointError: the file cannot be read; it holds no ConvNeXt; a weight is missing, has
            another shape, is not finite, or is unknown inside the trunk; or a field of ``init_cfg``
            is unknown or out of range. ``module`` is then unchanged.
    """
    _check_fields(init_cfg)
    rules = Rules(
        strict=init_cfg.get('strict', True),
        in_channels=init_cfg.get('in_channels'),
        keep_norm=init_cfg.get('keep_norm'),
    )
    return load_checkpoint(
        module, init_cfg['checkpoint'], rules, init_cfg.get('ema'), init_cfg.get('prefix')
    )


def load_weights(
    model: nn.Module, checkpoint: str | Path, strict: bool = True, ema: bool | None = None
) -> LoadReport:
    """Load every weight of a whole model, or of any module, to evaluate it.

    A model without a ConvNeXt of ours is matched by the names as they are.

    Args:
        model: the module, possibly inside DistributedDataParallel or test-time augmentation.
        checkpoint: a file in any known layout.
        strict: False loads what fits.
        ema: as in :func:`load_pretrained`.

    Raises:
        CheckpointError: as in :func:`load_pretrained`; with ``strict`` also if a norm or a last
            layer would stay as initialized.
    """
    model = getattr(model, 'module', model)
    return load_checkpoint(model, checkpoint, Rules(strict, exact=True), ema)


def load_checkpoint(
    module: nn.Module,
    source: str | Path,
    rules: Rules,
    ema: bool | None = None,
    prefix: str | None = None,
) -> LoadReport:
    """Read, unwrap, convert, match, check, apply, report: see the module's docstring."""
    content = read_file(source)
    try:
        weights = unwrap(content, ema)
    except ValueError as error:
        raise CheckpointError(f'{source} holds no weights to load: {error}') from error
    report = match_weights(module, weights, str(source), rules, prefix)
    module.load_state_dict(dict(report.values), strict=False)
    return report


def load_trunk(
    module: nn.Module,
    state_dict: Mapping[str, Tensor],
    prefix: str | None = None,
    name: str = 'the state dict',
) -> LoadReport:
    """Do the same as :func:`load_pretrained` with a state dict in memory, called ``name``."""
    report = match_weights(module, Weights(dict(state_dict)), name, Rules(), prefix)
    module.load_state_dict(dict(report.values), strict=False)
    return report


def match_weights(
    module: nn.Module, weights: Weights, source: str, rules: Rules, prefix: str | None = None
) -> LoadReport:
    """Convert, match and check ``weights``; the report holds the values to load.

    Raises:
        CheckpointError: see :func:`load_pretrained`.
    """
    own = module.state_dict()
    state_dict, outside = _cut(weights.state_dict, prefix, source)
    trunks = find_trunks(own)
    if len(trunks) != 1:
        report = match_names(own, state_dict, rules)
        _check(report, rules, source, '', len(own))
        return _complete(report, source, weights, own, state_dict, outside, prefix)

    at = trunks[0]
    try:
        file = to_facebook(state_dict)
    except ValueError as error:
        raise CheckpointError(
            f"{source} cannot be converted to the authors' names: {error}"
        ) from error
    variant = getattr(module.get_submodule(at.removesuffix('.')), 'variant', None)
    report = match(own, file, at, rules, None if variant is None else len(variant.depths))
    _check(
        report, rules, source, _compare(file, _name_arch(variant, own, at), at, report), len(own)
    )
    notes = _find_notes(module.get_submodule(at.removesuffix('.')), file, report)
    report = replace(report, arch=file.trunk.arch, notes=notes)
    return _complete(report, source, weights, own, state_dict, outside, prefix, file.layout)


def find_eps_notes(
    module: nn.Module, trunk: Trunk, layout: str, has_final_norm: bool
) -> tuple[str, ...]:
    """A sentence for each epsilon that differs between ``module`` and the networks of the file.

    Args:
        module: the module.
        trunk: the file's trunk.
        layout: the file's layout.
        has_final_norm: the module has a norm after pooling and took the file's.
    """
    own = {part.eps for part in module.modules() if isinstance(part, nn.LayerNorm)}
    here = ', '.join(f'{eps:g}' for eps in sorted(own))
    notes = []
    if own - {trunk.norm_eps}:
        notes.append(
            f'LayerNorm epsilon is {here} in the model, {trunk.norm_eps:g} in the networks of the '
            f'file: arch=dict(depths=..., dims=..., norm_eps={trunk.norm_eps:g}) gives the same '
            'outputs'
        )
    if layout == 'transformers' and has_final_norm:
        notes.append(
            f'transformers computes the final norm with epsilon {_TRANSFORMERS_FINAL_EPS:g}, the '
            f'model with {here}'
        )
    return tuple(notes)


def _check_fields(init_cfg: Mapping[str, Any]) -> None:
    unknown = set(init_cfg) - {'type', 'checkpoint', *_FIELDS}
    if unknown or not init_cfg.get('checkpoint'):
        raise CheckpointError(
            "init_cfg of type 'Pretrained' takes checkpoint (a path or an address) and optionally "
            f'{", ".join(_FIELDS)}; got {dict(init_cfg)}'
        )
    for name, choices in _FIELDS.items():
        if choices is not None and name in init_cfg and init_cfg[name] not in choices:
            raise CheckpointError(
                f"init_cfg of type 'Pretrained': {name} must be one of {choices}; got "
                f'{init_cfg[name]!r}'
            )


def _cut(
    state_dict: Mapping[str, Tensor], prefix: str | None, source: str
) -> tuple[dict[str, Tensor], list[str]]:
    """The weights below ``prefix``, without it, and the names of the others."""
    if not prefix:
        return dict(state_dict), []
    if not prefix.endswith('.'):
        prefix += '.'
    inside = {}
    outside = []
    for key, value in state_dict.items():
        if key.startswith(prefix):
            inside[key.removeprefix(prefix)] = value
        else:
            outside.append(key)
    if not inside:
        raise CheckpointError(
            f'{source} has nothing under prefix={prefix!r}; it has {shorten(state_dict)}. Leave '
            'prefix out to have it found.'
        )
    return inside, outside


def _name_arch(variant: Variant | None, own: Mapping[str, Tensor], at: str) -> str:
    """The module's arch, with stages that are not built if the module knows them."""
    if variant is None:
        return measure_trunk(own, at).arch
    return Trunk(variant.depths, variant.dims, variant.use_grn, not variant.use_grn).arch


def _check(report: LoadReport, rules: Rules, source: str, comparison: str, count: int) -> None:
    """Raise if a weight is damaged, or if loading is strict and a weight does not fit."""
    if report.damaged:
        raise CheckpointError(
            f'{source}: {shorten(report.damaged)} not finite (nan or inf). The training that wrote '
            'it diverged, or it is damaged: take an earlier checkpoint.'
        )
    if not rules.strict or not (report.missing or report.misshapen or report.extra):
        return
    misshapen = [f'{name}: {what}' for name, what in report.misshapen.items()]
    raise CheckpointError(
        f'{source} does not fit the model: {len(report.missing) + len(misshapen)} of its {count} '
        f'weights are missing or have another shape, {len(report.extra)} are in the file alone.'
        f'{comparison} Missing: {shorten(report.missing, 3)}. Wrong shape: '
        f'{shorten(misshapen, 3)}. In the file alone: {shorten(report.extra, 3)}.'
    )


def _compare(file: Converted, arch: str, at: str, report: LoadReport) -> str:
    """A sentence on what the file and the model are, and what to do about it."""
    if at and not file.own_prefix:
        return (
            f' The file is a backbone or a classifier, {file.trunk.arch}, without necks and heads: '
            "put init_cfg on the model's backbone, not on the model."
        )
    if file.trunk.arch != arch:
        return f' The file is {file.trunk.arch}, the model is {arch}.'
    if any(_is_layer_scale(name) for name in report.missing):
        return f' Both are {arch}; the file has no layer scale: layer_scale_init_value=0.'
    if any(_is_layer_scale(name) for name in report.extra):
        return (
            f' Both are {arch}; the file has layer scale: layer_scale_init_value=1.0, or leave it '
            'out.'
        )
    return f' Both are {arch}.'


def _is_layer_scale(name: str) -> bool:
    return name.endswith('.gamma') and not name.endswith('.grn.gamma')


def _find_notes(module: nn.Module, file: Converted, report: LoadReport) -> tuple[str, ...]:
    final = file.source.get('norm.weight')
    is_used = final is not None and final in report.loaded.values()
    has_final_norm = is_used and 'norm.weight' in report.loaded
    notes = find_eps_notes(module, file.trunk, file.layout, has_final_norm)
    is_headless_timm = file.layout == 'timm' and 'head.weight' not in file.state_dict
    if is_headless_timm and final is not None and not is_used:
        notes += (
            "timm names DINOv3's files like those of a classifier without a head; if this is one, "
            'use keep_norm=True',
        )
    return notes


def _complete(
    report: LoadReport,
    source: str,
    weights: Weights,
    own: Mapping[str, Tensor],
    state_dict: Mapping[str, Tensor],
    outside: list[str],
    prefix: str | None,
    layout: str = 'of the model itself',
) -> LoadReport:
    """Add to a report where the weights come from and which of them were reshaped."""
    reshaped = {}
    for name, key in report.loaded.items():
        if name not in report.adapted and state_dict[key].shape != own[name].shape:
            reshaped[name] = f'from {state_dict[key].dim()} axes to {own[name].dim()}'
    dropped = dict(report.dropped) | dict.fromkeys(outside, f'outside {prefix}')
    return replace(
        report,
        source=source,
        layout=f'layout {layout}{weights.where}',
        reshaped=reshaped,
        dropped=dropped,
    )
