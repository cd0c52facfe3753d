"""The networks that are measured: every library's ConvNeXt as a dense backbone, and our own modes.

Each has random weights and gives the four maps at strides 4, 8, 16, 32; ours, transformers', mmpretrain's and the
authors' norm them, timm's and torchvision's leave them raw. Libraries are imported when one of theirs is built.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from torch import Tensor, nn

from convnext_dense.variants import Variant, get_variant

# A folder in a checkout with what cannot stand beside the rest: see its requirements file. On a worker's path alone.
ASIDE = Path(__file__).resolve().parents[2] / '.peers'


class Maps(nn.Module):
    """A network whose answer is a mapping: of the maps themselves, or with all of them under ``feature_maps``."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        answer = self.network(x)
        return tuple(answer['feature_maps'] if 'feature_maps' in answer else answer.values())


def _build_timm(variant: Variant, drop_path_rate: float, **kwargs) -> nn.Module:
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


def _build_timm_conv_mlp(variant: Variant, drop_path_rate: float) -> nn.Module:
    return _build_timm(variant, drop_path_rate, conv_mlp=True)


def _build_torchvision(variant: Variant, drop_path_rate: float) -> nn.Module:
    from torchvision.models._utils import IntermediateLayerGetter
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    outs = [*variant.dims[1:], None]
    settings = [CNBlockConfig(*shape) for shape in zip(variant.dims, outs, variant.depths)]
    features = ConvNeXt(settings, stochastic_depth_prob=drop_path_rate).features
    return Maps(
        IntermediateLayerGetter(features, {str(2 * i + 1): str(i) for i in range(len(settings))})
    )


def _build_transformers(variant: Variant, drop_path_rate: float) -> nn.Module:
    import transformers

    version = 'V2' if variant.use_grn else ''
    Config, Backbone = (
        getattr(transformers, f'ConvNext{version}{part}') for part in ('Config', 'Backbone')
    )
    stages = [f'stage{i + 1}' for i in range(len(variant.depths))]
    return Maps(
        Backbone(
            Config(
                depths=list(variant.depths),
                hidden_sizes=list(variant.dims),
                out_features=stages,
                num_stages=len(stages),
                drop_path_rate=drop_path_rate,
            )
        )
    )


def _build_mmpretrain(variant: Variant, drop_path_rate: float) -> nn.Module:
    # Its multimodal part cannot be imported beside transformers 5, and is not needed: nothing takes its place.
    sys.modules.setdefault(
        'mmpretrain.models.multimodal', ModuleType('mmpretrain.models.multimodal')
    )
    from mmengine.registry import DefaultScope
    from mmpretrain.models import ConvNeXt

    v2 = dict(use_grn=True, layer_scale_init_value=0.0) if variant.use_grn else {}
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return ConvNeXt(
            dict(depths=list(variant.depths), channels=list(variant.dims)),
            out_indices=(0, 1, 2, 3),
            gap_before_final_norm=False,
            drop_path_rate=drop_path_rate,
            **v2,
        )


def _build_authors(variant: Variant, drop_path_rate: float) -> nn.Module:
    from convnext_dense.benchmark.authors import AuthorsConvNeXt

    return AuthorsConvNeXt(variant, drop_path_rate)


def _build_ours(variant: Variant, drop_path_rate: float, **kwargs) -> nn.Module:
    from convnext_dense.models import ConvNeXt

    return ConvNeXt(variant, drop_path_rate=drop_path_rate, **kwargs)


def _build_ours_low(variant: Variant, drop_path_rate: float) -> nn.Module:
    return _build_ours(variant, drop_path_rate, memory='low')


def _build_ours_plain(variant: Variant, drop_path_rate: float) -> nn.Module:
    return _build_ours(variant, drop_path_rate, memory='full')


# name -> (builder, the package that it needs). 'ours inference' is made ready by `prepare`, after it was moved.
PEERS = {
    'timm': (_build_timm, 'timm'),
    'timm conv_mlp': (_build_timm_conv_mlp, 'timm'),
    'torchvision': (_build_torchvision, 'torchvision'),
    'transformers': (_build_transformers, 'transformers'),
    'mmpretrain': (_build_mmpretrain, 'mmpretrain'),
    'authors': (_build_authors, 'torch'),
}
OURS = {
    'ours': (_build_ours, 'mmengine'),
    'ours low': (_build_ours_low, 'mmengine'),
    'ours plain': (_build_ours_plain, 'mmengine'),
    'ours inference': (_build_ours, 'mmengine'),
}
NETWORKS = PEERS | OURS
FORWARD_ONLY = {'ours inference'}
V1_ONLY = {'torchvision', 'authors'}


def build(name: str, arch, drop_path_rate: float = 0.0) -> nn.Module:
    """The network ``name`` of ``NETWORKS``, in training mode: (N, 3, H, W) -> its four maps, a list or tuple.

    ``arch`` is whatever :func:`convnext_dense.get_variant` takes: the peers are built from its depths and dims.

    Raises:
        ValueError: no such network, or one that has no ConvNeXt V2.
        ImportError: its library is not installed.
    """
    variant = get_variant(arch)
    if name not in NETWORKS:
        raise ValueError(f'no network {name!r}; there are {", ".join(NETWORKS)}')
    if variant.use_grn and name in V1_ONLY:
        raise ValueError(f'{name} has no ConvNeXt V2; leave it out, or choose a V1 arch')
    model = NETWORKS[name][0](variant, drop_path_rate)
    model.train(True)
    return model


def prepare(name: str, model: nn.Module) -> None:
    """Last step for networks with a form of their own for inference; the model is in eval mode and moved."""
    if name == 'ours inference':
        model.optimize_for_inference()


def installed() -> dict[str, str | None]:
    """name -> None if it can be built here, or else why not. Imports nothing."""
    return {
        name: None
        if find_spec(package) or (ASIDE / package).is_dir()
        else f'{package} is not installed'
        for name, (_, package) in NETWORKS.items()
    }
