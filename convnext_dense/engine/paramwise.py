"""Checks of ``paramwise_cfg``, the settings of layer-wise learning-rate decay."""

from __future__ import annotations

import math

from convnext_dense.engine.layer_ids import DECAY_TYPES, check_decay_type

_KEYS = ('decay_rate', 'decay_type', 'num_layers', 'custom_keys')

# mmengine's keys whose only right value here is 0, because it is what is always done.
_ALWAYS_ZERO = ('norm_decay_mult', 'bias_decay_mult', 'flat_decay_mult')

# mmengine's keys that are refused, and what to write instead.
_REPLACEMENTS = {
    'bias_lr_mult': "custom_keys={'.bias': dict(lr_mult=...)}",
    'dwconv_decay_mult': "custom_keys={'dwconv': dict(decay_mult=...)}",
    'dcn_offset_lr_mult': "custom_keys={'conv_offset': dict(lr_mult=...)}",
}


def check_paramwise_cfg(cfg: dict, base_lr: float | None, base_wd: float | None) -> None:
    """Check the settings; see :class:`~.layer_decay.LayerDecayOptimWrapperConstructor`.

    Args:
        cfg: ``paramwise_cfg``.
        base_lr: the optimizer's ``lr``, None where it is not stated.
        base_wd: the optimizer's ``weight_decay``, None where it is not stated.

    Raises:
        TypeError: ``cfg`` or its ``custom_keys`` is no dict of the right form.
        ValueError: a key is unknown, a value is missing or out of range.
    """
    if not isinstance(cfg, dict):
        raise TypeError(f'paramwise_cfg must be a dict such as dict(decay_rate=0.9); got {cfg!r}')
    for key, value in cfg.items():
        _check_key(key, value)
    check_decay_type(cfg.get('decay_type', 'layer_wise'))
    decay_rate = cfg.get('decay_rate')
    if not _is_number(decay_rate) or not 0 < decay_rate <= 1:  # type: ignore[operator]
        raise ValueError(
            'paramwise_cfg must hold decay_rate, a number in (0, 1] (1: no decay); got '
            f'{decay_rate!r}. Write for example paramwise_cfg=dict(decay_rate=0.9, '
            f'decay_type={DECAY_TYPES[0]!r})'
        )
    if base_lr is None:
        raise ValueError(
            'layer-wise learning-rate decay scales the base lr: state optimizer=dict(..., lr=...)'
        )
    _check_custom_keys(cfg.get('custom_keys') or {}, base_wd)


def _check_key(key: str, value: object) -> None:
    if key in _REPLACEMENTS:
        raise ValueError(
            f'paramwise_cfg.{key} is not supported with layer-wise decay; use {_REPLACEMENTS[key]}'
        )
    if key in _ALWAYS_ZERO and value != 0:
        raise ValueError(
            f'paramwise_cfg.{key}={value!r}: biases and parameters of one axis get no weight decay '
            f'here, so only {key}=0 is possible; leave it out'
        )
    if key == 'bypass_duplicate' and value is not True:
        raise ValueError(
            f'paramwise_cfg.bypass_duplicate={value!r}: shared parameters are always counted once; '
            'leave it out'
        )
    if key not in (*_KEYS, *_ALWAYS_ZERO, 'bypass_duplicate'):
        raise ValueError(f'unknown key in paramwise_cfg: {key!r}. Known: {", ".join(_KEYS)}')


def _check_custom_keys(custom_keys: dict, base_wd: float | None) -> None:
    is_nested = isinstance(custom_keys, dict) and all(
        isinstance(mults, dict) for mults in custom_keys.values()
    )
    if not is_nested:
        raise TypeError(
            'custom_keys must be a dict of {part of a name: dict(lr_mult=..., decay_mult=...)}; '
            f'got {custom_keys!r}'
        )
    for key, mults in custom_keys.items():
        for name, value in mults.items():
            if name not in ('lr_mult', 'decay_mult') or not _is_number(value) or value < 0:
                raise ValueError(
                    f'custom_keys[{key!r}] may hold lr_mult and decay_mult, numbers of 0 or more; '
                    f'got {name}={value!r}'
                )
        if base_wd is None and 'decay_mult' in mults:
            raise ValueError(
                f'custom_keys[{key!r}] has decay_mult, so state '
                'optimizer=dict(..., weight_decay=...)'
            )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
