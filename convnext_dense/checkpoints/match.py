"""Matching: which weight of a file goes where in a module, and what is left over on both sides.

Pure functions: nothing is loaded here. :func:`match` is the one for modules with a ConvNeXt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from convnext_dense.checkpoints.convert import Converted
from convnext_dense.checkpoints.layouts.upernet import name_as_mmseg
from convnext_dense.checkpoints.report import LoadReport
from convnext_dense.checkpoints.trunk import STEM

STEM_RULES = ('sum', 'repeat', 'mean')

# A part of the trunk or an output norm, and the stage that it belongs to.
_PART = re.compile(r'(downsample_layers|stages|norm)\.?(\d+)\.')
_UNKNOWN_PART = re.compile(r'(^|\.)(downsample_layers|stages|stem|features|embeddings)[._]')
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# The last layers of our classifier, of mmseg's heads and of the common heads in mmdet: their size
# depends on the number of classes.
_FINAL_LAYERS = (
    'conv_seg',
    'fc_cls',
    'fc_reg',
    'conv_logits',
    'head',
    'atss_cls',
    'cls_branches',
    'cls_embed',
    'conv_cls',
    'retina_cls',
    'rtm_cls',
)


@dataclass(frozen=True)
class Rules:
    """How far a file may differ from a module.

    Args:
        strict: a weight that is missing, has another shape, or is unknown in the trunk is an error;
            otherwise it is only reported.
        in_channels: how to make the stem for other than three channels, see :func:`adapt_stem`.
        keep_norm: whether a classifier's final norm goes on the last feature map; None: only if it
            was trained on feature maps (DINOv3).
        exact: for evaluation: nothing may stay as initialized and nothing is adapted.
    """

    strict: bool = True
    in_channels: str | None = None
    keep_norm: bool | None = None
    exact: bool = False


class Outcome(NamedTuple):
    """What becomes of one weight.

    Args:
        kind: the field of :class:`LoadReport` where it is listed.
        name: our name, or the file's if the module does not have the weight.
        text: the reason or explanation, for the fields that have one.
        value: the tensor to load.
        key: the file's name of ``value``.
    """

    kind: str
    name: str
    text: str = ''
    value: Tensor | None = None
    key: str = ''


def find_trunks(names: Iterable[str]) -> list[str]:
    """Prefixes of the trunks in a state dict: [''] for a backbone, ['backbone.'] for a detector."""
    return [name.removesuffix(STEM) for name in names if f'.{name}'.endswith(f'.{STEM}')]


def match(
    own: Mapping[str, Tensor],
    file: Converted,
    at: str,
    rules: Rules,
    num_stages: int | None = None,
) -> LoadReport:
    """Match a converted file to a module with one trunk.

    Args:
        own: the state dict of the module.
        file: the weights in our names.
        at: prefix of the trunk in ``own``.
        rules: how far they may differ.
        num_stages: stages of the module's arch, which may be more than are built; None if unknown.
    """
    outcomes = [Outcome('dropped', key, reason) for key, reason in file.dropped.items()]
    for key in file.unexpected:
        kind = 'extra' if _UNKNOWN_PART.search(key) else 'unexpected'
        outcomes.append(Outcome(kind, key))

    placed = _place(own, file, at, rules)
    is_network = not at and not rules.exact  # a backbone or a classifier, to be trained
    for name, value in own.items():
        if name in placed:
            given = file.state_dict[placed[name]]
            outcomes.append(_take(name, file.source[placed[name]], given, value, rules))
        else:
            may_be_new = is_network and _partner(name) not in placed
            outcomes.append(_lack(name, may_be_new))
    for name, ours in placed.items():
        if name not in own:
            outcomes.append(_leave(name, file.source[ours], at, own, num_stages))
    return _collect(outcomes)


def match_names(
    own: Mapping[str, Tensor], state_dict: Mapping[str, Tensor], rules: Rules
) -> LoadReport:
    """Match a file to a module without a trunk, or with several, by its names as they are."""
    outcomes = [Outcome('unexpected', key) for key in state_dict if key not in own]
    for name, value in own.items():
        if name in state_dict:
            outcomes.append(_take(name, name, state_dict[name], value, rules))
        else:
            outcomes.append(_lack(name, may_be_new=False))
    return _collect(outcomes)


def fits(given: Tensor, own: Tensor) -> bool:
    """Whether the shapes are equal; (1, 1, 1, 4C), as the authors shape GRN, also fits (4C,)."""
    if given.shape == own.shape:
        return True
    is_vector = given.dim() > 1 and given.numel() == given.shape[-1]
    return own.dim() == 1 and is_vector and given.numel() == own.numel()


def adapt_stem(weight: Tensor, in_channels: int, rule: str | None = None) -> Tensor:
    """Stem (C, k, 4, 4) for k channels -> stem (C, n, 4, 4) for n = ``in_channels``, same dtype.

    ::

        'sum'     w'[:, c] = sum_j w[:, j] / n       a grey image gives the same result
        'repeat'  w'[:, c] = w[:, c mod k] * k / n   the channels repeated in their order
        'mean'    w'[:, c] = sum_j w[:, j] / k       n / k times the response

    Sums are accumulated in at least float32.

    Args:
        weight: (C, k, 4, 4).
        in_channels: n.
        rule: None is timm's rule, 'sum' for one channel and 'repeat' for more.

    Raises:
        ValueError: ``rule`` is unknown, ``weight`` is not a convolution's, or n is 0.

    Source: huggingface/pytorch-image-models timm/models/_manipulate.py:adapt_input_conv @ v1.0.31.
    """
    if rule is not None and rule not in STEM_RULES:
        raise ValueError(
            'in_channels of init_cfg says how to make a stem for other channels: one of '
            f"{', '.join(STEM_RULES)}, or None for timm's rule; got {rule!r}. The number of "
            "channels is the model's in_channels."
        )
    if weight.dim() != 4 or in_channels < 1:
        raise ValueError(
            'a stem is a convolution (C, k, h, w) for at least one channel; got shape '
            f'{tuple(weight.shape)} for {in_channels} channels'
        )
    k = weight.shape[1]
    if rule is None:
        rule = 'sum' if in_channels == 1 else 'repeat'
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    if rule == 'repeat':
        adapted = wide[:, torch.arange(in_channels) % k] * (k / in_channels)
    else:
        divisor = in_channels if rule == 'sum' else k
        adapted = wide.sum(1, keepdim=True) / divisor
        adapted = adapted.expand(-1, in_channels, -1, -1)
    return adapted.to(weight.dtype)


def _place(own: Mapping[str, Tensor], file: Converted, at: str, rules: Rules) -> dict[str, str]:
    """The name that each weight of the file would have in the module -> its name in ``file``."""
    heads = name_as_mmseg(file.state_dict)
    root = at.removesuffix('backbone.')
    placed = {}
    for ours in file.state_dict:
        name = heads.get(ours, ours)
        short = name.removeprefix(file.own_prefix)
        in_classifier = short.startswith('head.') and not file.own_prefix
        if _PART.match(short) or short.startswith('norm.') or in_classifier:
            placed[at + short] = ours
        else:
            placed[root + name] = ours
    return _place_final_norm(placed, own, file, at, rules.keep_norm)


def _place_final_norm(
    placed: Mapping[str, str],
    own: Mapping[str, Tensor],
    file: Converted,
    at: str,
    keep_norm: bool | None,
) -> dict[str, str]:
    """Move a classifier's final norm to the last feature map if ``keep_norm`` says so.

    DINOv3 stores one weight under both names.
    """
    moved = dict(placed)
    for leaf in ('weight', 'bias'):
        final = f'{at}norm.{leaf}'
        last = f'{at}norm{len(file.trunk.depths) - 1}.{leaf}'
        if final not in placed or final in own:
            continue
        if last not in placed:
            if keep_norm:
                moved[last] = moved.pop(final)
            continue
        if torch.equal(file.state_dict[placed[final]], file.state_dict[placed[last]]):
            del moved[last if keep_norm is False else final]
    return moved


def _take(name: str, key: str, given: Tensor, own: Tensor, rules: Rules) -> Outcome:
    """A weight that the file has: its value, or why it cannot be taken."""
    is_float = given.dtype in _FLOATS
    if is_float != own.is_floating_point() or given.is_complex():
        return Outcome('misshapen', name, f'file {given.dtype}, model {own.dtype}')
    # In the module's dtype: 1e300 is infinite in float32.
    if is_float and not torch.isfinite(given.to(own.dtype)).all():
        return Outcome('damaged', name)
    if fits(given, own):
        value = given if given.shape == own.shape else given.reshape(own.shape)
        return Outcome('loaded', name, value=value, key=key)
    if not rules.exact and _is_stem_for_other_channels(name, given, own):
        value = adapt_stem(given, own.shape[1], rules.in_channels)
        rule = rules.in_channels or 'the rule of timm'
        return Outcome('adapted', name, f'to {own.shape[1]} channels, by {rule}', value, key)
    if not rules.exact and _is_final_layer(name) and given.shape[1:] == own.shape[1:]:
        text = f'the file has {given.shape[0]} outputs, the model {own.shape[0]}'
        return Outcome('fresh', name, text)
    return Outcome('misshapen', name, f'file {tuple(given.shape)}, model {tuple(own.shape)}')


def _lack(name: str, may_be_new: bool) -> Outcome:
    """A weight that the file does not have: output norms and a classifier's head may be new."""
    if name.endswith('num_batches_tracked'):
        return Outcome('fresh', name, 'a counter; not in the file')
    if may_be_new and name.startswith(('norm', 'head.')):
        return Outcome('fresh', name, 'not in the file')
    return Outcome('missing', name)


def _leave(
    name: str, key: str, at: str, own: Mapping[str, Tensor], num_stages: int | None
) -> Outcome:
    """A weight that the module does not have, the file's ``key``: known and not needed, or not."""
    short = name.removeprefix(at)
    part = _PART.match(short)
    if part:
        if num_stages is not None and int(part[2]) >= num_stages:
            return Outcome('extra', key)
        is_built = any(other.startswith(f'{at}stages.{part[2]}.') for other in own)
        if not is_built:
            text = f'of stage {part[2]}, which is not built: it is past the last of out_indices'
            return Outcome('dropped', key, text)
        if part[1] == 'norm':
            return Outcome('dropped', key, 'of a feature map that the model does not return')
        return Outcome('extra', key)
    if short.startswith('norm.'):
        text = 'trained on pooled vectors; keep_norm=True puts it on the last feature map'
        return Outcome('dropped', key, text)
    if short.startswith('head.') and name.startswith(at):
        return Outcome('dropped', key, "of the classifier's head")
    if not at:
        return Outcome('dropped', key, 'of the neck and heads around the backbone')
    return Outcome('unexpected', key)


def _is_stem_for_other_channels(name: str, given: Tensor, own: Tensor) -> bool:
    """Whether a stem for RGB differs from the module's in the number of channels only."""
    if not f'.{name}'.endswith(f'.{STEM}') or given.dim() != 4 or given.shape[1] != 3:
        return False
    return given[:, :1].shape == own[:, :1].shape


def _is_final_layer(name: str) -> bool:
    """Whether a head's layer has one output for each class, or four for the boxes of each."""
    return any(part in _FINAL_LAYERS for part in name.split('.')[-3:-1])


def _partner(name: str) -> str:
    """The bias of a weight, the weight of a bias: half a norm is damage, not another layout."""
    path, _, leaf = name.rpartition('.')
    other = 'bias' if leaf == 'weight' else 'weight'
    return f'{path}.{other}'


def _collect(outcomes: Iterable[Outcome]) -> LoadReport:
    """Sort the outcomes into the fields of a report."""
    values: dict[str, Tensor] = {}
    loaded: dict[str, str] = {}
    explained: dict[str, dict[str, str]] = {}
    named: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.value is not None:
            values[outcome.name] = outcome.value
            loaded[outcome.name] = outcome.key
        if outcome.text:
            explained.setdefault(outcome.kind, {})[outcome.name] = outcome.text
        elif outcome.kind != 'loaded':
            named.setdefault(outcome.kind, []).append(outcome.name)
    fields: dict[str, Any] = dict(explained)
    for kind, names in named.items():
        fields[kind] = tuple(names)
    return LoadReport(values=values, loaded=loaded, **fields)
