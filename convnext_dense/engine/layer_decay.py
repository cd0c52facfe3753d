"""Optimizer-wrapper constructor with layer-wise learning-rate decay for ConvNeXt in any model.

The rule itself, which layer a parameter belongs to and how the rate falls, is in ``layer_ids.py``.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from torch import Tensor, nn

from convnext_dense.engine.backbones import find_backbones, named_parameters
from convnext_dense.engine.layer_ids import check_num_layers, get_layer_id, get_lr_scale
from convnext_dense.engine.layer_table import Part, format_table, get_part
from convnext_dense.engine.paramwise import check_paramwise_cfg
from convnext_dense.registry import OPTIM_WRAPPER_CONSTRUCTORS


class Layer(NamedTuple):
    """Layer id of a parameter, factor on its learning rate, and where it is, for the log."""

    layer_id: int
    lr_scale: float
    part: Part


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Builds an optimizer whose learning rate falls from the head towards the stem.

    ::

        lr           = base lr * decay_rate ** (num_layers + 1 - layer_id) * lr_mult
        weight_decay = base weight decay * decay_mult
                       0 for biases, parameters of at most one axis, and those of GRN

    Layer ids are those of :mod:`convnext_dense.engine.layer_ids`. The backbones are found anywhere
    in the model, also inside DistributedDataParallel, torch.compile and checkpoint wrappers;
    parameters outside of them have scale 1. Frozen parameters are left out, shared ones are counted
    once. Parameters with the same layer, lr and weight decay form one group, so that fused and
    foreach optimizers stay fast. Each group holds ``layer_id``, ``lr_scale`` (lr / base lr),
    ``group_name`` and ``param_names``. The groups are logged as a table.

    Args:
        optim_wrapper_cfg: mmengine's; ``optimizer`` must state ``lr``. Everything else is passed on
            unchanged.
        paramwise_cfg: a dict with these keys.

            - ``decay_rate``: in (0, 1].
            - ``decay_type``: 'layer_wise' (default), 'stage_wise' or 'block_wise'.
            - ``num_layers``: not needed; if given, it is checked against the depths.
            - ``custom_keys``: as in mmengine, {part of a name: dict(lr_mult, decay_mult)}. The
              longest matching key wins. The factors multiply the values above, so a weight decay of
              0 stays 0.

            Of mmengine's other keys, ``norm_decay_mult=0``, ``bias_decay_mult=0``,
            ``flat_decay_mult=0`` and ``bypass_duplicate=True`` are accepted, since they state what
            is done anyway; all others are refused.

    Raises:
        ValueError: a key or value above is missing, unknown or out of range; the model has no
            ConvNeXt backbone.
        RuntimeError: a trainable parameter is in no group.

    Source: see :mod:`convnext_dense.engine.layer_ids`.
    Differs: finds several backbones anywhere; derives num_layers; has custom_keys; gives no weight
    decay to the parameters of GRN.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        optim_wrapper = super().__call__(model)
        grouped: set[int] = set()
        for group in optim_wrapper.optimizer.param_groups:
            grouped.update(id(param) for param in group['params'])
        missing = []
        for name, param in named_parameters(model):
            if param.requires_grad and id(param) not in grouped:
                missing.append(name)
        if missing:
            raise RuntimeError(
                f'{len(missing)} trainable parameters are in no group and would never be updated: '
                f'{", ".join(missing[:5])}, ... Each must be in exactly one. mmengine looks only '
                'into the attribute `module` of a model that has one: give that child another name.'
            )
        return optim_wrapper

    def add_params(
        self,
        params: list[dict],
        module: nn.Module,
        prefix: str = '',
        is_dcn_module: int | float | None = None,
    ) -> None:
        """Append the groups of all trainable parameters of ``module``, the whole model."""
        layers, outside_id, summary = self._get_layers(module)
        groups: dict[tuple, dict] = {}
        parts: dict[int, Part] = {}
        num_frozen = 0
        for name, param in named_parameters(module):
            if not param.requires_grad:
                num_frozen += 1
                continue
            layer = layers.get(id(param))
            if layer is None:
                layer = Layer(outside_id, 1.0, Part(name.split('.')[0]))
            parts[id(param)] = layer.part
            self._add_to_group(groups, name, param, layer)
        if not groups:
            raise ValueError(
                f'nothing to train: all {num_frozen} parameter tensors of the model are frozen'
            )
        ordered = sorted(
            groups.values(), key=lambda group: (group['layer_id'], group['group_name'])
        )
        params.extend(ordered)

        self._warn_about_unmatched_keys(module)
        print_log(
            f'{summary}\n{format_table(ordered, parts)}\n{len(parts)} parameter tensors in '
            f'{len(ordered)} groups; {num_frozen} frozen ones in none',
            logger='current',
        )

    def _get_layers(self, model: nn.Module) -> tuple[dict[int, Layer], int, str]:
        """Find the layer of each parameter of the backbones.

        Returns:
            {id(parameter): layer}, the layer id of the parameters outside of the backbones, and a
            line for the log.
        """
        decay_rate = self.paramwise_cfg['decay_rate']
        decay_type = self.paramwise_cfg.get('decay_type', 'layer_wise')
        layers: dict[int, Layer] = {}
        outside_id = 0
        descriptions = []
        for backbone in find_backbones(model).values():
            depths: tuple[int, ...] = tuple(backbone.depths)  # type: ignore[arg-type]
            num_layers = check_num_layers(self.paramwise_cfg.get('num_layers'), depths, decay_type)
            outside_id = max(outside_id, num_layers + 1)
            for name, param in named_parameters(backbone):
                layer_id = get_layer_id(name, depths, decay_type)
                lr_scale = get_lr_scale(layer_id, num_layers, decay_rate)
                layers.setdefault(id(param), Layer(layer_id, lr_scale, get_part(name)))
            descriptions.append(f'num_layers {num_layers} for depths {depths}')
        summary = (
            f'learning-rate decay {decay_type}, decay_rate {decay_rate:g}, '
            f'{"; ".join(descriptions)}'
        )
        return layers, outside_id, summary

    def _add_to_group(
        self, groups: dict[tuple, dict], name: str, param: Tensor, layer: Layer
    ) -> None:
        """Add a parameter to the group of its layer, lr and weight decay; make it where needed."""
        lr_mult, decay_mult = self._get_mults(name)
        if _has_no_decay(name, param) or self.base_wd == 0:
            decay_mult = 0.0
        lr_scale = layer.lr_scale * lr_mult
        weight_decay = None  # the optimizer's own default
        if self.base_wd is not None or decay_mult == 0:
            weight_decay = (self.base_wd or 0.0) * decay_mult

        key = (layer.layer_id, lr_scale, weight_decay)
        if key not in groups:
            groups[key] = dict(
                group_name=_get_group_name(layer.layer_id, lr_mult, decay_mult),
                layer_id=layer.layer_id,
                params=[],
                lr_scale=lr_scale,
                lr=self.base_lr * lr_scale,
                param_names=[],
            )
            if weight_decay is not None:
                groups[key]['weight_decay'] = weight_decay
        groups[key]['params'].append(param)
        groups[key]['param_names'].append(name)

    def _get_custom_keys(self) -> dict[str, dict[str, float]]:
        return self.paramwise_cfg.get('custom_keys') or {}

    def _get_mults(self, name: str) -> tuple[float, float]:
        """``lr_mult`` and ``decay_mult`` of the longest key that is part of the name."""
        custom_keys = self._get_custom_keys()
        for key in sorted(sorted(custom_keys), key=len, reverse=True):
            if key in name:
                mults = custom_keys[key]
                return mults.get('lr_mult', 1.0), mults.get('decay_mult', 1.0)
        return 1.0, 1.0

    def _warn_about_unmatched_keys(self, model: nn.Module) -> None:
        names = [name for name, _ in named_parameters(model)]
        unmatched = []
        for key in self._get_custom_keys():
            if not any(key in name for name in names):
                unmatched.append(key)
        if unmatched:
            print_log(
                f'custom_keys {unmatched} are part of no parameter name and have no effect',
                logger='current',
                level=logging.WARNING,
            )

    def _validate_cfg(self) -> None:
        # mmengine calls this at the end of its constructor.
        check_paramwise_cfg(self.paramwise_cfg, self.base_lr, self.base_wd)


def _has_no_decay(name: str, param: Tensor) -> bool:
    names = name.split('.')
    return param.ndim <= 1 or names[-1] == 'bias' or names[-2:-1] == ['grn']


def _get_group_name(layer_id: int, lr_mult: float, decay_mult: float) -> str:
    """For example 'layer_3_decay', 'layer_3_no_decay', 'layer_7_decay_x0.5_lr_x10'."""
    name = f'layer_{layer_id}_no_decay'
    if decay_mult != 0:
        name = f'layer_{layer_id}_decay'
        if decay_mult != 1:
            name += f'_x{decay_mult:g}'
    if lr_mult != 1:
        name += f'_lr_x{lr_mult:g}'
    return name
