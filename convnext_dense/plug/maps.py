"""What the backbone of a config returns: found by building it and running it once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope

from convnext_dense.apis.config import ConfigError

_STAGES = {4: 0, 8: 1, 16: 2, 32: 3}
_SIZE = 128  # pixels a side of the image


@dataclass(frozen=True)
class Maps:
    """What a backbone returns: for each map its channels, stride and stage of ConvNeXt; the names of its parameters."""

    channels: tuple[int, ...]
    strides: tuple[int, ...]
    stages: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def output_stride(self) -> int:
        """32 where no map is finer than ConvNeXt's own of that stage, else the stride that dilation keeps."""
        return (
            32
            if all(4 * 2**i == stride for i, stride in zip(self.stages, self.strides))
            else self.strides[-1]
        )


def read_maps(cfg: Config, backbone: ConfigDict) -> Maps:
    """Build ``backbone`` with random weights, run a black image through it and note what comes.

    Raises:
        ConfigError: it cannot be built or run, or ConvNeXt has no such maps.
    """
    backbone = ConfigDict(
        {key: value for key, value in backbone.items() if key not in ('init_cfg', 'pretrained')}
    )
    try:
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')), torch.no_grad():
            module = MODELS.build(backbone)
            module.eval()  # returns None in mmdet's ResNet
            maps = module(torch.zeros(1, backbone.get('in_channels', 3), _SIZE, _SIZE))
        maps = [maps] if isinstance(maps, torch.Tensor) else maps
        channels, strides = zip(*((x.shape[1], round(_SIZE / x.shape[2])) for x in maps))
    except Exception as error:  # third parties' modules raise anything
        raise ConfigError(
            f'the backbone {backbone.get("type")} cannot be built and run to see what it returns '
            f'({type(error).__name__}: {str(error)[:200]})'
        ) from error
    names = tuple(f'backbone.{name}' for name, _ in module.named_parameters())
    return Maps(channels, strides, _get_stages(strides, backbone), names)


def _get_stages(strides: tuple[int, ...], backbone: ConfigDict) -> tuple[int, ...]:
    """ConvNeXt's stage for each map: by its stride; maps of one stride, from a dilated backbone, are stages in a row.

    A dilated backbone that has ConvNeXt's four stages says itself, by ``out_indices``, which ones it returns.
    """
    dilations, indices = backbone.get('dilations'), backbone.get('out_indices')
    dilated = (
        backbone.get('output_stride', 32) < 32
        or isinstance(dilations, (list, tuple))
        and max(dilations) > 1
    )
    stages = list(indices) if dilated and isinstance(indices, (list, tuple)) else []
    if len(stages) != len(strides) or not set(stages) <= {0, 1, 2, 3}:
        stages = []
        for stride in strides:
            stages.append(max(_STAGES.get(stride, 9), stages[-1] + 1 if stages else 0))
    repeated = [stride for stride, following in zip(strides, strides[1:]) if stride == following]
    if stages[-1] > 3 or list(strides) != sorted(strides) or not set(repeated) <= {8, 16}:
        raise ConfigError(
            f'the backbone returns maps of strides {strides}; ConvNeXt has one map for each of 4, 8, 16, '
            '32 (or no more than 8 or 16, dilated), in that order'
        )
    return tuple(stages)


def find_model(model: ConfigDict) -> tuple[list[str], ConfigDict]:
    """The part of ``model`` that holds the backbone, and its keys: [] for ``model`` itself, ['detector'] in wrappers.

    Raises:
        ConfigError: there is no backbone, or several.
    """
    if isinstance(model.get('backbone'), dict):
        return [], model
    inner = {
        key: child
        for key, child in model.items()
        if isinstance(child, dict) and 'backbone' in child
    }
    if len(inner) != 1:
        raise ConfigError(f'expected one backbone in model; {model.get("type")} holds {len(inner)}')
    ((key, child),) = inner.items()
    return [key], child
