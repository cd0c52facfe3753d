"""From what a checkpoint file holds to the one state dict that is meant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

PLAIN = ('state_dict', 'model', 'module', 'student')
EMA = ('state_dict_ema', 'model_ema', 'ema_state_dict', 'teacher')
# What is taken where nothing was asked: as the libraries that write these read them. timm prefers `state_dict_ema`;
# the authors and torchvision prefer `model`; DINO and DINOv3 publish the teacher.
_PREFERENCE = (
    'state_dict_ema',
    'state_dict',
    'model',
    'module',
    'teacher',
    'model_ema',
    'ema_state_dict',
    'student',
)
_DEEPEST = 8  # wrappers one in another; a dict in a file can hold itself
_AVERAGE_COUNTERS = ('steps', 'n_averaged')
_WRAPPING = re.compile(
    r'(?:(?<=\.)|^)(?:module|_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.'
)


@dataclass(frozen=True)
class Weights:
    """``state_dict``: names, free of wrappers' prefixes, and tensors; ``opened``: the wrappers, from the outermost.

    ``kind`` is 'averaged' or 'plain' where there is a choice, else empty.
    """

    state_dict: dict[str, Tensor]
    opened: tuple[str, ...] = ()
    kind: str = ''

    @property
    def where(self) -> str:
        """', under state_dict (averaged weights)' for a report; empty for a bare state dict."""
        kind = f' ({self.kind} weights)' if self.kind else ''
        return f', under {" / ".join(self.opened)}{kind}' if self.opened else ''


def unwrap(content, ema: bool | None = None) -> Weights:
    """The state dict inside what a checkpoint file holds; anything else in it (optimizer, arguments) is left.

    Opens ``state_dict``, ``model``, ``module`` and ``student`` (plain weights), ``state_dict_ema``, ``model_ema``,
    ``ema_state_dict`` and ``teacher`` (averaged weights), also one inside another, and takes off what wrappers of
    models put into names (:func:`strip_wrapping`).

    Args:
        ema: True takes the averaged weights, False the plain ones, None those that the writing library itself loads:
            the averaged ones of timm, mmengine and DINO, the plain ones of the authors and torchvision.

    Raises:
        ValueError: no weights in it, or not those asked for; the message names what is there. Or a tensor that is
            sparse, quantized, nested, or without data.

    Source: mmengine mmengine/hooks/ema_hook.py:EMAHook @ 0.10.7, which swaps the two when it saves: ``state_dict``
    holds the average, ``ema_state_dict`` the plain weights behind ``module.`` and a counter ``steps``.
    """
    opened, found_ema, seen, kinds = [], False, [], set()
    while isinstance(content, Mapping) and len(opened) < _DEEPEST and (inner := _inner(content)):
        seen += [name for name, _, _ in inner]
        kinds |= {is_ema for _, is_ema, _ in inner}
        name, is_ema, content = _choose(inner, ema)
        opened.append(name)
        found_ema = found_ema or is_ema
    if ema is not None and ema != found_ema:
        asked, other = ('averaged (EMA)', 'plain') if ema else ('plain', 'averaged')
        raise ValueError(
            f'asked for the {asked} weights, which this checkpoint does not have: it holds '
            f'{_describe(seen, content)}. Ask for the {other} ones, or leave the choice out.'
        )
    state_dict = content if isinstance(content, Mapping) else {}
    state_dict = {
        key: value
        for key, value in state_dict.items()
        if isinstance(value, Tensor)
        and isinstance(key, str)
        and not (found_ema and key in _AVERAGE_COUNTERS)
    }
    if not state_dict:
        raise ValueError(
            'no weights here: expected parameter names and tensors, possibly under '
            f'{", ".join(PLAIN + EMA)}; got {_describe(seen, content)}'
        )
    if odd := [key for key, value in state_dict.items() if not _is_plain(value)]:
        raise ValueError(
            f'expected dense tensors that hold numbers; {odd[0]} is sparse, quantized, nested, or has no '
            'data (meta). Save model.state_dict() of the plain model'
        )
    kind = ('averaged' if found_ema else 'plain') if len(kinds) == 2 else ''
    return Weights(strip_wrapping(state_dict), tuple(opened), kind)


def strip_wrapping(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names without ``module.`` (DDP), ``_orig_mod.`` (torch.compile) and the wrappers of FSDP and checkpointing,
    wherever they stand.

    Raises:
        ValueError: two names become one.
    """
    stripped: dict[str, Tensor] = {}
    for key, value in state_dict.items():
        name = plain_name(key)
        if name in stripped:
            raise ValueError(
                f'{key} is {name} without its wrapper, and the checkpoint has {name} already: it holds '
                'two models. Keep the one that you want.'
            )
        stripped[name] = value
    return stripped


def _is_plain(x: Tensor) -> bool:
    return x.layout == torch.strided and not (x.is_meta or x.is_nested or x.is_quantized)


def plain_name(key: str) -> str:
    return _WRAPPING.sub('', key)


def _inner(content: Mapping) -> list[tuple[str, bool, Mapping]]:
    """The wrappers in ``content``: their name, whether they hold averaged weights, what they hold."""
    inner = {
        name: content[name]
        for name in PLAIN + EMA
        if isinstance(content.get(name), Mapping) and content[name]
    }
    swapped = inner.get('ema_state_dict')
    if swapped is not None and 'steps' in swapped and 'state_dict' in inner:  # mmengine's hook
        plain = {
            key.removeprefix('module.'): value
            for key, value in swapped.items()
            if isinstance(key, str) and key.startswith('module.')
        }
        return [('state_dict', True, inner['state_dict']), ('ema_state_dict', False, plain)]
    return [(name, name in EMA, inner[name]) for name in _PREFERENCE if name in inner]


def _choose(inner: list[tuple[str, bool, Mapping]], ema: bool | None) -> tuple[str, bool, Mapping]:
    """The first of the kind asked for; else the first, as that kind may stand further in."""
    return next((one for one in inner if ema in (None, one[1])), inner[0])


def _describe(seen: list[str], content) -> str:
    if seen:
        return ', '.join(seen)
    return (
        f'a dict with keys {list(content)[:8]}'
        if isinstance(content, Mapping)
        else f'a {type(content).__name__}'
    )
