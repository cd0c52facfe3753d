"""What a backbone returns, found by building it and running it once; and whether a model runs."""

from __future__ import annotations

import copy
import itertools
import traceback
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope

from convnext_dense.errors import ConfigError

# Stride of a feature map -> stage of ConvNeXt.
_STAGES = {4: 0, 8: 1, 16: 2, 32: 3}
_NO_STAGE = 9
_SIDE = 128  # pixels, of the image that is run through a backbone or a model


@dataclass(frozen=True)
class FeatureMaps:
    """What a backbone returns.

    Attributes:
        channels: of each feature map.
        strides: of each feature map, in pixels of the image.
        stages: ConvNeXt's stage, 0 to 3, that replaces each feature map.
        names: of the backbone's parameters, 'backbone.' included.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    stages: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def output_stride(self) -> int:
        """The stride that dilation keeps: 8 or 16; 32 if nothing is dilated."""
        own_strides = tuple(4 * 2**stage for stage in self.stages)
        if own_strides == self.strides:
            return 32
        return self.strides[-1]


def find_model(model: ConfigDict) -> tuple[list[str], ConfigDict]:
    """The part of ``model`` that holds the backbone.

    Returns:
        its keys, [] for ``model`` itself, ['detector'] in a wrapper; and the part.

    Raises:
        ConfigError: there is no backbone, or several.
    """
    if isinstance(model.get('backbone'), dict):
        return [], model
    found = []
    for key, child in model.items():
        if isinstance(child, dict) and 'backbone' in child:
            found.append(key)
    if len(found) != 1:
        raise ConfigError(f'expected one backbone in model; {model.get("type")} holds {len(found)}')
    return found, model[found[0]]


def read_feature_maps(cfg: Config, backbone: ConfigDict) -> FeatureMaps:
    """Build ``backbone`` with random weights and run a black image through it.

    Raises:
        ConfigError: it cannot be built or run, or ConvNeXt has no such feature maps.
    """
    backbone = copy.deepcopy(backbone)
    for key in ('init_cfg', 'pretrained'):
        backbone.pop(key, None)
    try:
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')), torch.no_grad():
            module = MODELS.build(backbone)
            module.eval()  # not chained: mmdet's ResNet returns None
            maps = module(torch.zeros(1, backbone.get('in_channels', 3), _SIDE, _SIDE))
        if isinstance(maps, torch.Tensor):
            maps = [maps]
        channels = tuple(x.shape[1] for x in maps)
        strides = tuple(round(_SIDE / x.shape[2]) for x in maps)
    except Exception as error:  # code of third parties raises anything
        raise ConfigError(
            f'the backbone {backbone.get("type")} cannot be built and run to see what it returns '
            f'({type(error).__name__}: {str(error)[:200]})'
        ) from error
    names = tuple(f'backbone.{name}' for name, _ in module.named_parameters())
    return FeatureMaps(channels, strides, find_stages(strides, backbone), names)


def find_stages(strides: tuple[int, ...], backbone: ConfigDict) -> tuple[int, ...]:
    """ConvNeXt's stage for each feature map, by its stride.

    Feature maps with equal strides, from a dilated backbone, are consecutive stages. A dilated
    backbone with four stages says by ``out_indices`` which ones it returns.

    Raises:
        ConfigError: ConvNeXt has no feature maps with such strides.
    """
    stages = _stages_by_indices(strides, backbone)
    if stages is None:
        # By stride; the next stage if a stride repeats.
        stages = []
        for stride in strides:
            following = stages[-1] + 1 if stages else 0
            stages.append(max(_STAGES.get(stride, _NO_STAGE), following))
    repeated = {a for a, b in itertools.pairwise(strides) if a == b}
    if stages[-1] > 3 or list(strides) != sorted(strides) or not repeated <= {8, 16}:
        raise ConfigError(
            f'the backbone returns feature maps with strides {strides}; ConvNeXt has one for each '
            'of 4, 8, 16, 32 (if dilated, at most 8 or 16), in this order'
        )
    return tuple(stages)


def _stages_by_indices(strides: tuple[int, ...], backbone: ConfigDict) -> list[int] | None:
    dilations = backbone.get('dilations')
    is_dilated = backbone.get('output_stride', 32) < 32
    if isinstance(dilations, (list, tuple)) and max(dilations) > 1:
        is_dilated = True
    indices = backbone.get('out_indices')
    if not is_dilated or not isinstance(indices, (list, tuple)):
        return None
    if len(indices) != len(strides) or not set(indices) <= {0, 1, 2, 3}:
        return None
    return list(indices)


def check_model(cfg: Config) -> list[str]:
    """Build the model of ``cfg`` with random weights and run a black image through it.

    Returns:
        A note if parameters of the backbone have no effect on the output, else nothing.

    Raises:
        ConfigError: the model cannot be built or run.
    """
    try:
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            _, model_cfg = find_model(cfg.model)
            model = MODELS.build(copy.deepcopy(model_cfg))  # building writes into the config
            model.eval()
            outputs = _run(model, torch.zeros(1, model.backbone.in_channels, _SIDE, _SIDE))
    except Exception as error:  # code of third parties raises anything
        what = str(error) or traceback.extract_tb(error.__traceback__)[-1].line
        raise ConfigError(
            f'the new model fails on an image of {_SIDE} x {_SIDE} px: '
            f'{type(error).__name__}: {what}. '
            'Nothing was written; --no-check writes it anyway.'
        ) from error

    # A parameter without a gradient has no effect on any output.
    total = torch.zeros(())
    for output in outputs:
        total = total + output.float().sum()
    total.backward()
    idle = [name for name, parameter in model.backbone.named_parameters() if parameter.grad is None]
    if not idle:
        return []
    return [
        f'Parameters of the backbone with no effect on the output: {", ".join(idle)}. '
        'DistributedDataParallel needs find_unused_parameters=True.'
    ]


def _run(model: Any, image: torch.Tensor) -> list[torch.Tensor]:
    """Outputs of everything that reads the feature maps."""
    maps = model.extract_feat(image)
    if not hasattr(model, 'encode_decode'):
        return list(maps)  # a detector's neck
    sides = tuple(image.shape[2:])
    meta = dict(img_shape=sides, ori_shape=sides, pad_shape=sides)
    outputs = [model.encode_decode(image, [meta])]
    heads = getattr(model, 'auxiliary_head', None)
    if isinstance(heads, torch.nn.ModuleList):
        outputs += [head(maps) for head in heads]
    elif heads is not None:
        outputs.append(heads(maps))
    return outputs
