"""From the content of a checkpoint file to the one state dict that is meant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Keys under which libraries store plain weights, and averaged ones.
PLAIN = ('state_dict', 'model', 'module', 'student')
EMA = ('state_dict_ema', 'model_ema', 'ema_state_dict', 'teacher')
# The order of choice if nothing is asked for, as the libraries that write the files read them: timm
# prefers `state_dict_ema`, the authors and torchvision `model`; DINO publishes the teacher.
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
_MAX_DEPTH = 8  # of wrappers in each other; a dict in a file can contain itself
_AVERAGE_COUNTERS = ('steps', 'n_averaged')
_WRAPPING = re.compile(
    r'(?:(?<=\.)|^)(?:module|_orig_mod|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.'
)


@dataclass(frozen=True)
class Weights:
    """The state dict that was found in a file.

    Args:
        state_dict: names, without the prefixes of wrappers, and tensors.
        opened: the keys that lead to it, from the outermost.
        kind: 'averaged' or 'plain' if the file has both, else empty.
    """

    state_dict: dict[str, Tensor]
    opened: tuple[str, ...] = ()
    kind: str = ''

    @property
    def where(self) -> str:
        """', under state_dict (averaged weights)' for a report; empty for a bare state dict."""
        if not self.opened:
            return ''
        kind = f' ({self.kind} weights)' if self.kind else ''
        return f', under {" / ".join(self.opened)}{kind}'


class _Wrapper(NamedTuple):
    key: str
    is_ema: bool
    content: Mapping


def unwrap(content: Any, ema: bool | None = None) -> Weights:
    """Find the state dict in the content of a file; optimizers, arguments etc. are left out.

    Opens the keys in :data:`PLAIN` and :data:`EMA`, also inside each other, and removes what
    wrappers of models add to names, see :func:`strip_wrapping`.

    Args:
        content: what the file holds.
        ema: True takes the averaged weights, False the plain ones, None those that the library
            which wrote the file loads: averaged for timm, mmengine and DINO, plain for the authors
            and torchvision.

    Raises:
        ValueError: there are no weights, or not those that are asked for; the message names what
            is there. Or a tensor is sparse, quantized, nested, or has no data.

    Source: mmengine mmengine/hooks/ema_hook.py:EMAHook @ 0.10.7, which swaps the two when it saves:
    ``state_dict`` holds the average, ``ema_state_dict`` the plain weights below ``module.`` and a
    counter ``steps``.
    """
    opened: list[str] = []
    seen: list[str] = []
    kinds = set()
    found_ema = False
    while isinstance(content, Mapping) and len(opened) < _MAX_DEPTH:
        wrappers = _find_wrappers(content)
        if not wrappers:
            break
        for wrapper in wrappers:
            seen.append(wrapper.key)
            kinds.add(wrapper.is_ema)
        chosen = _choose(wrappers, ema)
        opened.append(chosen.key)
        found_ema = found_ema or chosen.is_ema
        content = chosen.content
    if ema is not None and ema != found_ema:
        asked, other = ('averaged (EMA)', 'plain') if ema else ('plain', 'averaged')
        raise ValueError(
            f'asked for the {asked} weights, which this checkpoint does not have: it holds '
            f'{_describe(seen, content)}. Ask for the {other} ones, or leave the choice out.'
        )
    state_dict = _keep_tensors(content, without=_AVERAGE_COUNTERS if found_ema else ())
    if not state_dict:
        raise ValueError(
            'no weights here: expected parameter names and tensors, possibly under '
            f'{", ".join(PLAIN + EMA)}; got {_describe(seen, content)}'
        )
    for key, value in state_dict.items():
        if not _is_dense(value):
            raise ValueError(
                f'expected dense tensors that hold numbers; {key} is sparse, quantized, nested, or '
                'has no data (meta). Save model.state_dict() of the plain model'
            )
    kind = ''
    if len(kinds) == 2:
        kind = 'averaged' if found_ema else 'plain'
    return Weights(strip_wrapping(state_dict), tuple(opened), kind)


def strip_wrapping(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Remove what wrappers of models add to names, wherever it is.

    These are ``module.`` (DDP), ``_orig_mod.`` (torch.compile) and the prefixes of FSDP and
    activation checkpointing.

    Raises:
        ValueError: two names become equal.
    """
    stripped: dict[str, Tensor] = {}
    for key, value in state_dict.items():
        name = plain_name(key)
        if name in stripped:
            raise ValueError(
                f'{key} is {name} without its wrapper, and the checkpoint has {name} already: it '
                'holds two models. Keep the one that you want.'
            )
        stripped[name] = value
    return stripped


def plain_name(key: str) -> str:
    """A name without the prefixes of wrappers."""
    return _WRAPPING.sub('', key)


def _find_wrappers(content: Mapping) -> list[_Wrapper]:
    """The keys of ``content`` that may lead to weights, in the order of preference."""
    inner = {}
    for key in PLAIN + EMA:
        value = content.get(key)
        if isinstance(value, Mapping) and value:
            inner[key] = value
    swapped = inner.get('ema_state_dict')
    if swapped is not None and 'steps' in swapped and 'state_dict' in inner:
        # mmengine's hook: the average has the plain key.
        plain = {}
        for key, value in swapped.items():
            if isinstance(key, str) and key.startswith('module.'):
                plain[key.removeprefix('module.')] = value
        return [
            _Wrapper('state_dict', True, inner['state_dict']),
            _Wrapper('ema_state_dict', False, plain),
        ]
    return [_Wrapper(key, key in EMA, inner[key]) for key in _PREFERENCE if key in inner]


def _choose(wrappers: list[_Wrapper], ema: bool | None) -> _Wrapper:
    """The first wrapper of the kind that is asked for; else the first, which may hold that kind."""
    for wrapper in wrappers:
        if ema is None or wrapper.is_ema == ema:
            return wrapper
    return wrappers[0]


def _keep_tensors(content: Any, without: tuple[str, ...]) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    tensors = {}
    for key, value in content.items():
        if isinstance(value, Tensor) and isinstance(key, str) and key not in without:
            tensors[key] = value
    return tensors


def _is_dense(x: Tensor) -> bool:
    return x.layout == torch.strided and not (x.is_meta or x.is_nested or x.is_quantized)


def _describe(seen: list[str], content: Any) -> str:
    if seen:
        return ', '.join(seen)
    if isinstance(content, Mapping):
        return f'a dict with keys {list(content)[:8]}'
    return f'a {type(content).__name__}'
