"""Strict loading of any ConvNeXt checkpoint: into a backbone, a classifier, or a whole detector or segmentor."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from convnext_dense.checkpoints.arch import name_arch, note_eps
from convnext_dense.checkpoints.convert import Converted, to_facebook
from convnext_dense.checkpoints.errors import CheckpointError
from convnext_dense.checkpoints.match import Match, Rules, find_trunks, match, match_names
from convnext_dense.checkpoints.read import read_file
from convnext_dense.checkpoints.report import LoadReport, shorten
from convnext_dense.checkpoints.stem import RULES
from convnext_dense.checkpoints.unwrap import Weights, unwrap

_FIELDS = (
    'type',
    'checkpoint',
    'prefix',
    'map_location',
    'ema',
    'strict',
    'in_channels',
    'keep_norm',
)
_TIMM_NORM = (
    "timm names DINOv3's files as a classifier's without a head; if this is one, use keep_norm=True"
)


def load_pretrained(module: nn.Module, init_cfg: Mapping) -> LoadReport:
    """Load ``dict(type='Pretrained', checkpoint=...)`` into a module whose names are the authors', to train it on.

    What the module holds decides: a dense backbone takes trunk and output norms, a classifier its final norm and head
    too, a detector or segmentor everything. Left as initialized, and reported: output norms that a classifier's file
    cannot hold, and a last layer for another number of classes. Everything else must be there.

    Fields of ``init_cfg``:
        checkpoint: path, https:// address, 'timm:NAME' or 'hf-hub:ORG/NAME'.
        prefix: where in the file the model is, as in mmengine ('backbone.'); None finds it.
        ema: True takes averaged weights, False plain ones, None those that the writing library would load.
        strict: False loads what fits; the report says what stays random.
        in_channels: 'sum', 'repeat' or 'mean', see :func:`convnext_dense.checkpoints.stem.adapt_stem`.
        keep_norm: whether a classifier's final norm goes on the last map; None: where it was trained on maps (DINOv3).
        map_location: mmengine's; without effect, as weights are copied to where the module is.

    Raises:
        CheckpointError: the file cannot be read; it holds no ConvNeXt; a weight is missing, has another shape, is not
            finite, or is unknown inside the trunk. ``module`` is then unchanged.
        CheckpointError: a field of ``init_cfg`` that is unknown or out of range.
    """
    _check_fields(init_cfg)
    source = init_cfg['checkpoint']
    rules = Rules(
        init_cfg.get('strict', True), init_cfg.get('in_channels'), init_cfg.get('keep_norm')
    )
    return _load(
        module, _read(source, init_cfg.get('ema')), str(source), rules, init_cfg.get('prefix')
    )


def load_weights(
    model: nn.Module, checkpoint: str | Path, strict: bool = True, ema: bool | None = None
) -> LoadReport:
    """Load every weight of a whole model, or of any module, from a file in any known layout, to evaluate it.

    A model without a ConvNeXt of ours is matched by the names as they are.

    Raises:
        CheckpointError: as in :func:`load_pretrained`; with ``strict``, also where a norm or a last layer would stay as
            initialized.
    """
    model = getattr(
        model, 'module', model
    )  # DistributedDataParallel and test-time augmentation hold it so
    return _load(model, _read(checkpoint, ema), str(checkpoint), Rules(strict, exact=True))


def load_trunk(
    module: nn.Module,
    state_dict: Mapping[str, Tensor],
    prefix: str | None = None,
    name: str = 'the state dict',
) -> LoadReport:
    """:func:`load_pretrained` of a state dict that is at hand."""
    return _load(module, Weights(dict(state_dict)), name, Rules(), prefix)


def _load(
    module: nn.Module, weights: Weights, source: str, rules: Rules, prefix: str | None = None
) -> LoadReport:
    values, report = plan_weights(module, weights, source, rules, prefix)
    module.load_state_dict(values, strict=False)
    return report


def _check_fields(init_cfg: Mapping) -> None:
    unknown = set(init_cfg) - set(_FIELDS)
    if unknown or not init_cfg.get('checkpoint'):
        raise CheckpointError(
            "init_cfg of type 'Pretrained' takes checkpoint (a path or an address) and, if wanted, "
            f'{", ".join(_FIELDS[2:])}; got {dict(init_cfg)}'
        )
    for field, choices in dict(
        ema=(None, True, False),
        strict=(True, False),
        keep_norm=(None, True, False),
        in_channels=(None, *RULES),
    ).items():
        if field in init_cfg and init_cfg[field] not in choices:
            raise CheckpointError(
                f"init_cfg of type 'Pretrained': {field} must be one of {choices}; got "
                f'{init_cfg[field]!r}'
            )


def _read(source: str | Path, ema: bool | None) -> Weights:
    content = read_file(source)
    try:
        return unwrap(content, ema)
    except ValueError as error:
        raise CheckpointError(f'{source} holds no weights to load: {error}') from error


def plan_weights(
    module: nn.Module, weights: Weights, source: str, rules: Rules, prefix: str | None = None
) -> tuple[dict[str, Tensor], LoadReport]:
    """What loading ``weights`` would put into ``module``, by its names and in its shapes, and the report of it.

    Raises:
        CheckpointError: see :func:`load_pretrained`.
    """
    own = module.state_dict()
    state_dict, outside = _cut(weights.state_dict, prefix, source)
    trunks = find_trunks(own)
    at, file = trunks[0] if len(trunks) == 1 else '', None
    if len(trunks) == 1:
        try:
            file = to_facebook(state_dict)
        except ValueError as error:
            raise CheckpointError(
                f"{source} cannot be brought into the authors' names: {error}"
            ) from error
    found = match(own, file, at, rules) if file else match_names(own, state_dict, rules)
    if file:
        _find_stages_too_many(
            found, file, getattr(module.get_submodule(at.removesuffix('.')), 'variant', None)
        )
    _check(
        found,
        rules,
        source,
        _compare(file, name_arch(module, own, at), at, found) if file else '',
        len(own),
    )
    reshaped = {
        name: f'from {state_dict[key].dim()} axes to {own[name].dim()}'
        for name, key in found.loaded.items()
        if name not in found.adapted and state_dict[key].shape != own[name].shape
    }
    return found.values, LoadReport(
        source=source,
        layout=_name_layout(file, weights),
        arch=file.trunk.arch if file else '',
        loaded=found.loaded,
        reshaped=reshaped,
        adapted=found.adapted,
        fresh=found.fresh,
        dropped=found.dropped | dict.fromkeys(outside, f'outside {prefix}'),
        missing=tuple(found.missing),
        misshapen=found.misshapen,
        unexpected=(*found.extra, *found.unexpected),
        notes=_note(module, file, found),
    )


def _find_stages_too_many(found: Match, file: Converted, variant) -> None:
    """Of what seemed to be of a stage that is not built: what is of a stage that the model's whole arch has not."""
    for name, key in file.source.items():
        stage = re.match(
            r'(?:stages|downsample_layers|norm)\.?(\d+)\.', name.removeprefix(file.own_prefix)
        )
        if (
            variant
            and stage
            and int(stage[1]) >= len(variant.depths)
            and found.dropped.pop(key, None)
        ):
            found.extra.append(key)


def _cut(
    state_dict: Mapping[str, Tensor], prefix: str | None, source: str
) -> tuple[dict[str, Tensor], list[str]]:
    """What stands behind ``prefix``, without it, and the names of the rest."""
    if not prefix:
        return dict(state_dict), []
    prefix = prefix if prefix.endswith('.') else prefix + '.'
    inside = {
        key[len(prefix) :]: value for key, value in state_dict.items() if key.startswith(prefix)
    }
    if not inside:
        raise CheckpointError(
            f'{source} has nothing under prefix={prefix!r}; it has {shorten(state_dict)}. Leave '
            'prefix out to have it found.'
        )
    return inside, [key for key in state_dict if not key.startswith(prefix)]


def _check(found: Match, rules: Rules, source: str, comparison: str, count: int) -> None:
    """Raise where a weight is damaged, or one of the trunk (or, exactly, of anything) is wanting."""
    if found.damaged:
        raise CheckpointError(
            f'{source}: {shorten(found.damaged)} not finite (nan or inf). The training that wrote it '
            'diverged, or it is damaged: take an earlier checkpoint.'
        )
    if rules.strict and (found.missing or found.misshapen or found.extra):
        misshapen = [f'{name}: {what}' for name, what in found.misshapen.items()]
        raise CheckpointError(
            f'{source} does not fit the model: {len(found.missing) + len(misshapen)} of its {count} weights are '
            f'missing or have another shape, {len(found.extra)} are in the file alone.{comparison} '
            f'Missing: {shorten(found.missing, 3)}. '
            f'Wrong shape: {shorten(misshapen, 3)}. In the file alone: {shorten(found.extra, 3)}.'
        )


def _compare(file: Converted, arch: str, at: str, found: Match) -> str:
    """A sentence on what the file and the model are, and what to do about it."""
    if at and not file.own_prefix:
        return (
            f' The file is a backbone or a classifier, {file.trunk.arch}, without necks and heads: put init_cfg on '
            "the model's backbone, not on the model."
        )
    if file.trunk.arch != arch:
        return f' The file is {file.trunk.arch}, the model is {arch}.'
    if any(name.endswith('.gamma') for name in found.missing):
        return f' Both are {arch}; the file has no layer scale: layer_scale_init_value=0.'
    if any(name.endswith('.gamma') for name in found.extra):
        return f' Both are {arch}; the file has layer scale: layer_scale_init_value=1.0, or leave it out.'
    return f' Both are {arch}.'


def _name_layout(file: Converted | None, weights: Weights) -> str:
    return f'layout {file.layout if file else "of the model itself"}{weights.where}'


def _note(module: nn.Module, file: Converted | None, found: Match) -> tuple[str, ...]:
    if file is None:
        return ()
    final = {file.source.get('norm.weight')} - {None}
    used = bool(final & set(found.loaded.values()))
    notes = note_eps(module, file.trunk, file.layout, used and 'norm.weight' in found.loaded)
    if file.layout == 'timm' and final and not used and 'head.weight' not in file.state_dict:
        notes += (_TIMM_NORM,)
    return notes
