"""The networks that are measured: every library's ConvNeXt as a dense backbone, and our own.

Each has random weights and returns four feature maps, at strides 4, 8, 16 and 32. Ours and those
of transformers and mmpretrain normalize the maps; timm and torchvision do not.
A library is imported when one of its networks is built.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from torch import Tensor, nn

from convnext_dense.variants import Variant, get_variant

# In a checkout, holds mmpretrain, which cannot be installed beside transformers 5 and mmdet.
EXTRA_PACKAGES = Path(__file__).resolve().parents[2] / '.peers'


class MapsOfMapping(nn.Module):
    """Turns a network's mapping into a tuple of feature maps.

    The mapping holds the maps themselves, or all of them under ``feature_maps``.
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(x)
        return tuple(outputs.get('feature_maps', outputs.values()))


def _build_timm(variant: Variant, drop_path_rate: float, **kwargs: Any) -> nn.Module:
    import timm

    return timm.create_model(
        'convnextv2_tiny' if variant.use_grn else 'convnext_tiny',
        features_only=True,
        depths=variant.depths,
        dims=variant.dims,
        drop_path_rate=drop_path_rate,
        norm_eps=variant.norm_eps,
        **kwargs,
    )


def _build_torchvision(variant: Variant, drop_path_rate: float) -> nn.Module:
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    next_dims = [*variant.dims[1:], None]
    stages = [
        CNBlockConfig(*stage) for stage in zip(variant.dims, next_dims, variant.depths, strict=True)
    ]
    features = ConvNeXt(stages, stochastic_depth_prob=drop_path_rate).features
    # Even children are the stem and the downsampling layers, odd ones the stages.
    stage_names = {'1': 'stage1', '3': 'stage2', '5': 'stage3', '7': 'stage4'}
    return MapsOfMapping(IntermediateLayerGetter(features, stage_names))


def _build_transformers(variant: Variant, drop_path_rate: float) -> nn.Module:
    import transformers

    family = 'ConvNextV2' if variant.use_grn else 'ConvNext'
    config = getattr(transformers, f'{family}Config')(
        depths=list(variant.depths),
        hidden_sizes=list(variant.dims),
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
        drop_path_rate=drop_path_rate,
    )
    return MapsOfMapping(getattr(transformers, f'{family}Backbone')(config))


def _build_mmpretrain(variant: Variant, drop_path_rate: float) -> nn.Module:
    if str(EXTRA_PACKAGES) not in sys.path:
        sys.path.append(str(EXTRA_PACKAGES))
    # Its multimodal part is not needed and cannot be imported beside transformers 5.
    multimodal = 'mmpretrain.models.multimodal'
    sys.modules.setdefault(multimodal, ModuleType(multimodal))
    from mmengine.registry import DefaultScope
    from mmpretrain.models import ConvNeXt

    kwargs: dict = {'out_indices': (0, 1, 2, 3), 'gap_before_final_norm': False}
    if variant.use_grn:
        kwargs.update(use_grn=True, layer_scale_init_value=0.0)
    arch = {'depths': list(variant.depths), 'channels': list(variant.dims)}
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return ConvNeXt(arch, drop_path_rate=drop_path_rate, **kwargs)


def _build_ours(variant: Variant, drop_path_rate: float, **kwargs: Any) -> nn.Module:
    from convnext_dense.models import ConvNeXt

    return ConvNeXt(variant, drop_path_rate=drop_path_rate, **kwargs)


class Network(NamedTuple):
    """How a network is built, and what it cannot do."""

    build: Callable[[Variant, float], nn.Module]
    package: str
    has_v2: bool = True
    has_backward: bool = True


PEERS = {
    'timm': Network(_build_timm, 'timm'),
    'timm conv_mlp': Network(partial(_build_timm, conv_mlp=True), 'timm'),
    'torchvision': Network(_build_torchvision, 'torchvision', has_v2=False),
    'transformers': Network(_build_transformers, 'transformers'),
    'mmpretrain': Network(_build_mmpretrain, 'mmpretrain'),
}
OURS = {
    'ours': Network(_build_ours, 'mmengine'),
    'ours half': Network(partial(_build_ours, memory='half'), 'mmengine'),
    'ours low': Network(partial(_build_ours, memory='low'), 'mmengine'),
    'ours full': Network(partial(_build_ours, memory='full'), 'mmengine'),
    'ours inference': Network(_build_ours, 'mmengine', has_backward=False),
}
NETWORKS = PEERS | OURS


def build(name: str, arch: str | dict | Variant, drop_path_rate: float = 0.0) -> nn.Module:
    """The network ``name`` of ``NETWORKS``: images (N, 3, H, W) -> list or tuple of four maps.

    ``arch`` is a name or a dict of depths and dims, as :func:`convnext_dense.get_variant` takes it.

    Raises:
        ValueError: there is no such network, or it has no ConvNeXt V2.
        ImportError: its library is not installed.
    """
    variant = get_variant(arch)
    if name not in NETWORKS:
        raise ValueError(f'no network {name!r}; there are {", ".join(NETWORKS)}')
    network = NETWORKS[name]
    if variant.use_grn and not network.has_v2:
        raise ValueError(f'{name} has no ConvNeXt V2; leave it out, or choose a V1 arch')
    return network.build(variant, drop_path_rate)


def find_reason_missing(name: str) -> str | None:
    """Why the network ``name`` cannot be built here, or None if it can. Imports nothing."""
    package = NETWORKS[name].package
    if find_spec(package) or (EXTRA_PACKAGES / package).is_dir():
        return None
    return f'{package} is not installed'
