"""Matching a file to a module: which of its weights goes where, and what is left over on either side."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from convnext_dense.checkpoints.convert import Converted
from convnext_dense.checkpoints.layouts.upernet import is_final_layer, name_heads
from convnext_dense.checkpoints.stem import adapt_stem

STEM = 'downsample_layers.0.0.weight'
_PART = re.compile(
    r'(downsample_layers|stages|norm)\.?(\d+)\.'
)  # of a trunk, and which stage it belongs to
_UNKNOWN_PART = re.compile(r'(^|\.)(downsample_layers|stages|stem|features|embeddings)[._]')
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_POOLED = 'the norm behind the pooling: it saw no maps; keep_norm=True puts it on the last one'


@dataclass(frozen=True)
class Rules:
    """How far a file may differ from a module.

    Args:
        strict: a weight that is missing, misshapen or unknown in the trunk is an error; else it is only reported.
        in_channels: how to make the stem for other than three channels; see :func:`adapt_stem`.
        keep_norm: a classifier's final norm goes on the last map; None: where it was trained on maps (DINOv3).
        exact: nothing may stay as initialized and nothing is adapted: for evaluation.
    """

    strict: bool = True
    in_channels: str | None = None
    keep_norm: bool | None = None
    exact: bool = False


@dataclass
class Match:
    """``values`` to copy, under our names; the rest is as in :class:`LoadReport`.

    ``extra``: the file's weights inside the trunk that ours has not. ``damaged``: our names that are nan or inf there.
    """

    values: dict[str, Tensor] = field(default_factory=dict)
    loaded: dict[str, str] = field(default_factory=dict)
    adapted: dict[str, str] = field(default_factory=dict)
    fresh: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    misshapen: dict[str, str] = field(default_factory=dict)
    extra: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def find_trunks(own: Mapping[str, Tensor]) -> list[str]:
    """What stands before each trunk's names in a module's state dict: [''] for a backbone, ['backbone.'] around one."""
    return [name.removesuffix(STEM) for name in own if f'.{name}'.endswith(f'.{STEM}')]


def match(own: Mapping[str, Tensor], file: Converted, at: str, rules: Rules) -> Match:
    """Match a file to a module with state dict ``own``, whose trunk's names start with ``at``."""
    found = Match(
        dropped=dict(file.dropped),
        extra=[key for key in file.unexpected if _UNKNOWN_PART.search(key)],
        unexpected=[key for key in file.unexpected if not _UNKNOWN_PART.search(key)],
    )
    placed = _place(own, file, at, rules)
    for name, value in own.items():
        if name in placed:
            _take(
                name, file.source[placed[name]], file.state_dict[placed[name]], value, rules, found
            )
        else:
            _lack(name, not at and not rules.exact and _get_partner(name) not in placed, found)
    for name, key in placed.items():
        if name not in own:
            _leave(name, file.source[key], at, own, found)
    return found


def match_names(own: Mapping[str, Tensor], state_dict: Mapping[str, Tensor], rules: Rules) -> Match:
    """Match a file to a module without a trunk, or with several: by the names as they are."""
    found = Match(unexpected=[key for key in state_dict if key not in own])
    for name, value in own.items():
        if name in state_dict:
            _take(name, name, state_dict[name], value, rules, found)
        else:
            _lack(name, False, found)
    return found


def fits(given: Tensor, own: Tensor) -> bool:
    """Equal shapes; or a vector written with leading ones, as the authors write GRN's (1, 1, 1, 4C)."""
    as_vector = (
        own.dim() == 1 and given.dim() > 1 and given.numel() == given.shape[-1] == own.numel()
    )
    return given.shape == own.shape or as_vector


def _place(own: Mapping[str, Tensor], file: Converted, at: str, rules: Rules) -> dict[str, str]:
    """The name that each of the file's weights would have in the module -> its name in ``file``."""
    heads = name_heads(file.state_dict)
    root = at.removesuffix('backbone.')
    placed = {}
    for key in file.state_dict:
        name = heads.get(key, key)
        short = name.removeprefix(file.own_prefix)
        if (
            _PART.match(short)
            or short.startswith('norm.')
            or (short.startswith('head.') and not file.own_prefix)
        ):
            placed[at + short] = key
        else:
            placed[root + name] = key
    _place_final_norm(placed, own, file, at, rules.keep_norm)
    return placed


def _place_final_norm(
    placed: dict[str, str],
    own: Mapping[str, Tensor],
    file: Converted,
    at: str,
    keep_norm: bool | None,
) -> None:
    """Put the norm behind the pooling on the last map where ``keep_norm`` says so; DINOv3's is there already, too."""
    for leaf in ('weight', 'bias'):
        final, last = f'{at}norm.{leaf}', f'{at}norm{len(file.depths) - 1}.{leaf}'
        if final not in placed or final in own:
            continue
        if last not in placed and keep_norm:
            placed[last] = placed.pop(final)
        elif last in placed and torch.equal(
            file.state_dict[placed[final]], file.state_dict[placed[last]]
        ):
            del placed[last if keep_norm is False else final]  # one weight under two names


def _take(name: str, key: str, given: Tensor, own: Tensor, rules: Rules, found: Match) -> None:
    """Note the value for ``name``, the file's ``key``, or why there is none."""
    if (given.dtype in _FLOATS) != own.is_floating_point() or given.is_complex():
        found.misshapen[name] = f'file {given.dtype}, model {own.dtype}'
    elif (
        given.dtype in _FLOATS and not torch.isfinite(given.to(own.dtype)).all()
    ):  # 1e300 is inf in float32
        found.damaged.append(name)
    elif fits(given, own):
        found.values[name], found.loaded[name] = given.reshape(own.shape), key
    elif not rules.exact and _is_other_stem(name, given, own):
        found.values[name], found.loaded[name] = (
            adapt_stem(given, own.shape[1], rules.in_channels),
            key,
        )
        found.adapted[name] = (
            f'to {own.shape[1]} channels, by {rules.in_channels or "the rule of timm"}'
        )
    elif not rules.exact and is_final_layer(name) and given.shape[1:] == own.shape[1:]:
        found.fresh[name] = f'the file has {given.shape[0]} outputs, the model {own.shape[0]}'
    else:
        found.misshapen[name] = f'file {tuple(given.shape)}, model {tuple(own.shape)}'


def _is_other_stem(name: str, given: Tensor, own: Tensor) -> bool:
    """A stem for RGB, where the model's takes another number of channels and is equal otherwise."""
    return (
        f'.{name}'.endswith(f'.{STEM}')
        and given.dim() == 4
        and given.shape[1] == 3
        and given[:, :1].shape == own[:, :1].shape
    )


def _get_partner(name: str) -> str:
    """The bias of a weight and the weight of a bias: half a norm is damage, not another kind of file."""
    path, _, leaf = name.rpartition('.')
    return f'{path}.{"bias" if leaf == "weight" else "weight"}'


def _lack(name: str, norms_may: bool, found: Match) -> None:
    """Note that the file has no ``name``; output norms and a classifier's head may have to start anew."""
    if name.endswith('num_batches_tracked'):
        found.fresh[name] = 'a counter; not in the file'
    elif norms_may and name.startswith(('norm', 'head.')):
        found.fresh[name] = 'not in the file'
    else:
        found.missing.append(name)


def _leave(name: str, key: str, at: str, own: Mapping[str, Tensor], found: Match) -> None:
    """Note that the module has no ``name``, the file's ``key``: known and not needed, or not."""
    short = name.removeprefix(at)
    part = _PART.match(short)
    if part and not any(other.startswith(f'{at}stages.{part[2]}.') for other in own):
        found.dropped[key] = (
            f'of stage {part[2]}, which is not built: it is past the last of out_indices'
        )
    elif part and part[1] == 'norm':
        found.dropped[key] = 'of a map that the model does not give'
    elif part:
        found.extra.append(key)
    elif short.startswith('norm.'):
        found.dropped[key] = _POOLED
    elif short.startswith('head.') and name.startswith(at):
        found.dropped[key] = "the classifier's"
    elif not at:
        found.dropped[key] = 'of the neck and heads around the backbone'
    else:
        found.unexpected.append(key)
