"""Optimizer-wrapper constructor with layer-wise learning-rate decay for ConvNeXt in any model."""

from __future__ import annotations

import logging
import math

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import Tensor, nn

from convnext_dense.engine.backbones import find_backbones, named_parameters
from convnext_dense.engine.layer_ids import (
    DECAY_TYPES,
    check_decay_type,
    check_num_layers,
    get_layer_id,
    get_lr_scale,
)
from convnext_dense.engine.layer_table import format_table, get_part
from convnext_dense.registry import OPTIM_WRAPPER_CONSTRUCTORS

_KEYS = ('decay_rate', 'decay_type', 'num_layers', 'custom_keys')
_ZERO_ALREADY = ('norm_decay_mult', 'bias_decay_mult', 'flat_decay_mult')
_INSTEAD = {
    'bias_lr_mult': "custom_keys={'.bias': dict(lr_mult=...)}",
    'dwconv_decay_mult': "custom_keys={'dwconv': dict(decay_mult=...)}",
    'dcn_offset_lr_mult': "custom_keys={'conv_offset': dict(lr_mult=...)}",
}


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Builds an optimizer whose learning rate falls from the head towards the stem.

    ::

        lr           = base lr * decay_rate ** (num_layers + 1 - layer_id) * lr_mult
        weight_decay = base weight decay * decay_mult;  0 for parameters of at most one axis, biases and GRN's

    Layer ids are those of :mod:`convnext_dense.engine.layer_ids`. The backbones are found anywhere in the model, also
    in DistributedDataParallel, torch.compile and checkpoint wrappers; all that is outside has scale 1. Frozen
    parameters are left out, shared ones counted once. Parameters of one layer, lr and weight decay make one group, so
    that fused and foreach optimizers stay fast. Each group holds ``layer_id``, ``lr_scale`` (lr / base lr),
    ``group_name`` and ``param_names``. The groups are logged as a table.

    Args:
        optim_wrapper_cfg: mmengine's; ``optimizer`` must state ``lr``. All else passes through unchanged.
        paramwise_cfg: ``decay_rate`` in (0, 1]; ``decay_type``, 'layer_wise' unless given; ``num_layers``, needless,
            and checked against the depths; ``custom_keys`` as mmengine's: {part of a name: dict(lr_mult, decay_mult)},
            the longest matching key wins. They multiply on top of the above, so no decay stays no decay.
            Of mmengine's other keys, ``norm_decay_mult=0``, ``bias_decay_mult=0``, ``flat_decay_mult=0`` and
            ``bypass_duplicate=True`` say what is done in any case; the rest is refused.

    Raises:
        ValueError: a key or value above is missing, unknown or out of range; the model has no ConvNeXt backbone.
        RuntimeError: a trainable parameter is in no group.

    Source: see :mod:`convnext_dense.engine.layer_ids`.
    Differs: several backbones anywhere, num_layers derived, custom_keys, GRN's parameters in no-decay groups.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        optim_wrapper = super().__call__(model)
        grouped = {
            id(param) for group in optim_wrapper.optimizer.param_groups for param in group['params']
        }
        missing = [
            name
            for name, param in named_parameters(model)
            if param.requires_grad and id(param) not in grouped
        ]
        if missing:
            raise RuntimeError(
                f'{len(missing)} trainable parameters are in no group and would never be updated: '
                f'{", ".join(missing[:5])}, ... Each must be in exactly one. mmengine looks only into '
                'the attribute `module` of a model that has one: give that child another name.'
            )
        return optim_wrapper

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = '', is_dcn_module=None
    ) -> None:
        """Append the groups of all trainable parameters of ``module``, the whole model, to ``params``."""
        layer_of, outside, summary = self._get_layers(module)
        groups, part_of, num_frozen = {}, {}, 0
        for name, param in named_parameters(module):
            if not param.requires_grad:
                num_frozen += 1
                continue
            layer_id, scale, part = layer_of.get(
                id(param), (outside, 1.0, (name.split('.')[0], None))
            )
            part_of[id(param)] = part
            self._add_to_group(groups, name, param, layer_id, scale)
        if not groups:
            raise ValueError(
                f'nothing to train: all {num_frozen} parameter tensors of the model are frozen'
            )
        ordered = sorted(
            groups.values(), key=lambda group: (group['layer_id'], group['group_name'])
        )
        params.extend(ordered)
        self._warn_unmatched(module)
        print_log(
            f'{summary}\n{format_table(ordered, part_of)}\n{len(part_of)} parameter tensors in {len(ordered)} '
            f'groups; {num_frozen} frozen ones in none',
            logger='current',
        )

    def _get_layers(self, model: nn.Module) -> tuple[dict[int, tuple], int, str]:
        """id(parameter) -> (layer id, scale, part) in all backbones; the layer id outside them; a line for the log."""
        cfg, layer_of, outside, texts = self.paramwise_cfg, {}, 0, []
        decay_type, decay_rate = cfg.get('decay_type', 'layer_wise'), cfg['decay_rate']
        for backbone in find_backbones(model).values():
            depths = tuple(backbone.depths)
            num_layers = check_num_layers(cfg.get('num_layers'), depths, decay_type)
            outside = max(outside, num_layers + 1)
            texts.append(f'num_layers {num_layers} for depths {depths}')
            for name, param in named_parameters(backbone):
                layer_id = get_layer_id(name, depths, decay_type)
                scale = get_lr_scale(layer_id, num_layers, decay_rate)
                layer_of.setdefault(id(param), (layer_id, scale, get_part(name)))
        return (
            layer_of,
            outside,
            f'learning-rate decay {decay_type}, decay_rate {decay_rate:g}, {"; ".join(texts)}',
        )

    def _add_to_group(
        self, groups: dict, name: str, param: Tensor, layer_id: int, scale: float
    ) -> None:
        lr_mult, decay_mult = self._get_mults(name)
        if _has_no_decay(name, param) or self.base_wd == 0:
            decay_mult = 0.0
        group = dict(
            group_name=_get_group_name(layer_id, lr_mult, decay_mult),
            layer_id=layer_id,
            params=[],
            lr_scale=scale * lr_mult,
            lr=self.base_lr * scale * lr_mult,
            param_names=[],
        )
        if self.base_wd is not None or decay_mult == 0:  # otherwise the optimizer's own default
            group['weight_decay'] = (self.base_wd or 0.0) * decay_mult
        group = groups.setdefault((layer_id, group['lr_scale'], group.get('weight_decay')), group)
        group['params'].append(param)
        group['param_names'].append(name)

    def _get_mults(self, name: str) -> tuple[float, float]:
        custom_keys = self.paramwise_cfg.get('custom_keys') or {}
        for key in sorted(sorted(custom_keys), key=len, reverse=True):
            if key in name:
                return custom_keys[key].get('lr_mult', 1.0), custom_keys[key].get('decay_mult', 1.0)
        return 1.0, 1.0

    def _warn_unmatched(self, model: nn.Module) -> None:
        names = [name for name, _ in named_parameters(model)]
        unmatched = [
            key
            for key in self.paramwise_cfg.get('custom_keys') or {}
            if not any(key in n for n in names)
        ]
        if unmatched:
            print_log(
                f'custom_keys {unmatched} are part of no parameter name and have no effect',
                logger='current',
                level=logging.WARNING,
            )

    def _validate_cfg(self) -> None:
        cfg = self.paramwise_cfg
        if not isinstance(cfg, dict):
            raise TypeError(
                f'paramwise_cfg must be a dict such as dict(decay_rate=0.9); got {cfg!r}'
            )
        for key in cfg:
            _check_key(key, cfg[key])
        check_decay_type(cfg.get('decay_type', 'layer_wise'))
        rate = cfg.get('decay_rate')
        if not _is_number(rate) or not 0 < rate <= 1:
            raise ValueError(
                'paramwise_cfg must hold decay_rate, a number in (0, 1] (1: no decay); got '
                f'{rate!r}. Write for example paramwise_cfg=dict(decay_rate=0.9, '
                f'decay_type={DECAY_TYPES[0]!r})'
            )
        if self.base_lr is None:
            raise ValueError(
                'layer-wise learning-rate decay scales the base lr: state optimizer=dict(..., lr=...)'
            )
        _check_custom_keys(cfg.get('custom_keys') or {}, self.base_wd)


def _check_key(key: str, value) -> None:
    if key in _INSTEAD:
        raise ValueError(
            f'paramwise_cfg.{key} is not supported with layer-wise decay; use {_INSTEAD[key]}'
        )
    if key in _ZERO_ALREADY and value != 0:
        raise ValueError(
            f'paramwise_cfg.{key}={value!r}: parameters of one axis and biases get no weight decay here, '
            f'so only {key}=0 is right; leave it out'
        )
    if key == 'bypass_duplicate' and value is not True:
        raise ValueError(
            f'paramwise_cfg.bypass_duplicate={value!r}: shared parameters are always counted once; '
            'leave it out'
        )
    if key not in (*_KEYS, *_ZERO_ALREADY, 'bypass_duplicate'):
        raise ValueError(f'unknown key in paramwise_cfg: {key!r}. Known: {", ".join(_KEYS)}')


def _check_custom_keys(custom_keys: dict, base_wd: float | None) -> None:
    if not isinstance(custom_keys, dict) or not all(
        isinstance(mults, dict) for mults in custom_keys.values()
    ):
        raise TypeError(
            'custom_keys must be a dict of {part of a name: dict(lr_mult=..., decay_mult=...)}; got '
            f'{custom_keys!r}'
        )
    for key, mults in custom_keys.items():
        for mult, value in mults.items():
            if mult not in ('lr_mult', 'decay_mult') or not _is_number(value) or value < 0:
                raise ValueError(
                    f'custom_keys[{key!r}] may hold lr_mult and decay_mult, numbers of 0 or more; got '
                    f'{mult}={value!r}'
                )
        if base_wd is None and 'decay_mult' in mults:
            raise ValueError(
                f'custom_keys[{key!r}] has decay_mult, so state optimizer=dict(..., weight_decay=...)'
            )


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _has_no_decay(name: str, param: Tensor) -> bool:
    owner, _, last = name.rpartition('.')
    return param.ndim <= 1 or last == 'bias' or owner.rpartition('.')[2] == 'grn'


def _get_group_name(layer_id: int, lr_mult: float, decay_mult: float) -> str:
    name = f'layer_{layer_id}_{"decay" if decay_mult else "no_decay"}'
    name += f'_x{decay_mult:g}' if decay_mult not in (0, 1) else ''
    return name + (f'_lr_x{lr_mult:g}' if lr_mult != 1 else '')
