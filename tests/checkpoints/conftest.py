"""Other libraries' networks with random weights, and our computation of their output."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from timm.models._features import FeatureListNet
from timm.models.convnext import ConvNeXt as TimmConvNeXt
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.convnext import ConvNeXt as TorchvisionConvNeXt

from convnext_dense.layers import ConvNeXt

GOLDEN = Path(__file__).parents[1] / 'golden'
DEPTHS, DIMS, CLASSES = (2, 2, 3, 2), (8, 16, 32, 64), 5
SIZES = dict(depths=DEPTHS, dims=DIMS)
V2 = dict(use_grn=True, ls_init_value=None)
IMAGE = torch.randn(2, 3, 64, 75, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope='session')
def networks():
    """``peers(layout)``: its networks; ``compute(peer, weights)``: our output; ``golden(name)``."""
    return SimpleNamespace(
        peers=peers, compute=compute, golden=golden, norm3_of=norm3_of, depths=DEPTHS, dims=DIMS
    )


@dataclass(frozen=True)
class Peer:
    """A library's network: its weights, its output, our computation of it, a strict reload."""

    layout: str
    state_dict: dict[str, Tensor]
    answer: list[Tensor]
    compute: str
    reload: Callable[[dict], list[Tensor]] | None = None
    image: Tensor = None
    eps: float = 1e-6


def randomized(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (
            model.parameters()
        ):  # ones and zeros, as many start, would hide a lost or exchanged weight
            scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
            parameter.copy_(
                torch.randn(parameter.shape, generator=generator) * scale
                + (parameter.dim() == 1) * 0.5
            )
    return model


def live(
    layout: str, make: Callable[[], nn.Module], compute: str, answer=None, eps: float = 1e-6
) -> Peer:
    def run(model):
        model.train(False)  # mmpretrain's eval() returns None
        with torch.inference_mode():
            y = answer(model) if answer else model(IMAGE)
        return [y] if isinstance(y, Tensor) else list(y)

    def reload(state_dict):
        model = make()
        model.load_state_dict(state_dict)
        return run(model)

    model = randomized(make())
    return Peer(layout, model.state_dict(), run(model), compute, reload, IMAGE, eps)


def compute(peer: Peer, weights: dict[str, Tensor]) -> list[Tensor]:
    """Our trunk with the authors' names, and its norms and head by hand."""
    trunk = ConvNeXt(dict(SIZES, use_grn='stages.0.0.grn.gamma' in weights)).eval()
    trunk.load_state_dict(
        {k: v for k, v in weights.items() if k.startswith(('downsample_layers.', 'stages.'))}
    )

    def norm(x, name, eps=1e-6):
        x = F.layer_norm(
            x.movedim(1, -1), x.shape[1:2], weights[f'{name}.weight'], weights[f'{name}.bias'], eps
        )
        return x.movedim(-1, 1)

    with torch.inference_mode():
        maps = trunk(peer.image)
        if peer.compute == 'maps':
            return list(maps)
        if peer.compute == 'dense':
            return [norm(x, f'norm{i}') for i, x in enumerate(maps)]
        if (
            peer.compute == 'tokens'
        ):  # DINOv3: one norm for the pooled vector and every pixel of the last map
            return [
                torch.stack(
                    [
                        norm(maps[-1].mean((2, 3)), 'norm'),
                        *norm(maps[-1], 'norm3').flatten(2).unbind(2),
                    ],
                    dim=1,
                )
            ]
        if peer.compute == 'norm first':
            x = norm(maps[-1], 'norm3').mean((2, 3))
        else:
            x = norm(maps[-1].mean((2, 3)), 'norm', peer.eps)
        return (
            [F.linear(x, weights['head.weight'], weights['head.bias'])]
            if peer.compute != 'pooled'
            else [x]
        )


@cache
def golden(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    with np.load(GOLDEN / f'{name}.npz') as file:
        values = {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}
    return {
        k.removeprefix('param/'): v for k, v in values.items() if k.startswith('param/')
    }, values


# ---- the libraries ----


def authors() -> list[Peer]:
    v1, values = golden('convnext_v1_classifier')
    v2, values2 = golden('convnext_v2_classifier')
    dense, values3 = golden('convnext_v1_dense')
    maps = [values2[f'output{i}'] for i in (1, 2, 3, 4)]
    dinov3 = {k: v for k, v in v1.items() if not k.startswith('head.')}
    dinov3 |= {'norms.3.weight': v1['norm.weight'], 'norms.3.bias': v1['norm.bias']}
    return [
        Peer('facebook', v1, [values['output0']], 'logits', image=values['input']),
        Peer('facebook', v2, maps, 'maps', image=values2['input']),
        Peer(
            'facebook',
            {k: v.flatten() if '.grn.' in k else v for k, v in v2.items()},
            maps,
            'maps',
            image=values2['input'],
        ),  # as our own network writes it
        Peer(
            'facebook',
            dense,
            [values3[f'output{i}'] for i in range(4)],
            'dense',
            image=values3['input'],
        ),
        Peer(
            'dinov3',
            dinov3,
            compute(Peer('', v1, [], 'tokens', image=IMAGE), v1 | norm3_of(v1)),
            'tokens',
            image=IMAGE,
        ),
        Peer('fcmae', fcmae_file(v2), maps, 'maps', image=values2['input']),
    ]


def norm3_of(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {'norm3.weight': weights['norm.weight'], 'norm3.bias': weights['norm.bias']}


def fcmae_file(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As MinkowskiEngine writes: kernels (columns * rows, in, out), norms one module deeper."""

    def kernel(weight):
        side = range(weight.shape[2])
        return torch.stack([weight[:, :, row, column].T for column in side for row in side])

    file = {
        'encoder.downsample_layers.0.0.weight': weights['downsample_layers.0.0.weight'],
        'mask_token': torch.ones(1, 3, 1, 1),
        'decoder.0.grn.gamma': torch.ones(1, 1, 1, 12),
        'decoder.0.grn.beta': torch.ones(1, 1, 1, 12),
    }
    layers = [f'decoder.0.{name}' for name in ('dwconv', 'norm', 'pwconv1', 'pwconv2')]
    file |= {
        f'{name}.{p}': torch.ones(3)
        for name in ('proj', 'pred', *layers)
        for p in ('weight', 'bias')
    }
    for i in range(4):
        conv, norm = (
            f'downsample_layers.{i}.{0 if i == 0 else 1}',
            f'downsample_layers.{i}.{1 if i == 0 else 0}',
        )
        for p in ('weight', 'bias'):
            file[f'encoder.{norm}.{"ln." if i else ""}{p}'] = weights[f'{norm}.{p}']
        file[f'encoder.{conv}.bias'] = (
            weights[f'{conv}.bias'][None] if i else weights[f'{conv}.bias']
        )
        if i:
            file[f'encoder.{conv}.kernel'] = kernel(weights[f'{conv}.weight'])
        for block in (f'stages.{i}.{j}' for j in range(DEPTHS[i])):
            file[f'encoder.{block}.dwconv.kernel'] = kernel(weights[f'{block}.dwconv.weight'])[:, 0]
            file[f'encoder.{block}.dwconv.bias'] = weights[f'{block}.dwconv.bias'][None]
            for p in ('weight', 'bias'):
                file[f'encoder.{block}.norm.ln.{p}'] = weights[f'{block}.norm.{p}']
                for layer in ('pwconv1', 'pwconv2'):
                    file[f'encoder.{block}.{layer}.linear.{p}'] = weights[f'{block}.{layer}.{p}']
            for p in ('gamma', 'beta'):
                file[f'encoder.{block}.grn.{p}'] = weights[f'{block}.grn.{p}'][0, 0]
    return file


def timm() -> list[Peer]:
    def make(**kwargs):
        return lambda: TimmConvNeXt(**SIZES, num_classes=CLASSES, **kwargs)

    def features(**kwargs):
        return lambda: FeatureListNet(
            make(**kwargs)(), out_indices=(0, 1, 2, 3), flatten_sequential=True
        )

    def pooled(model):
        return model.head.flatten(
            model.head.norm(model.head.global_pool(model.forward_features(IMAGE)))
        )

    def read_only(*args):  # written as linear layers, without the hidden one
        return replace(live(*args), reload=None)

    hidden = dict(head_hidden_size=7)
    return [
        live('timm', make(), 'logits'),
        live('timm', make(**V2), 'logits'),
        read_only('timm', make(conv_mlp=True), 'logits'),
        live('timm_features', features(), 'maps'),
        live('timm_features', features(**V2), 'maps'),
        read_only('timm_features', features(conv_mlp=True), 'maps'),
        live('timm_hnf', make(head_norm_first=True, conv_mlp=True), 'norm first'),
        live('timm_hnf', make(head_norm_first=True, conv_mlp=True, **V2), 'norm first'),
        read_only('timm_mlp_head', make(**hidden, **V2), 'pooled', pooled),
        read_only('timm_mlp_head', make(**hidden, conv_mlp=True), 'pooled', pooled),
    ]


def torchvision() -> list[Peer]:
    blocks = [
        CNBlockConfig(dim, following, depth)
        for dim, following, depth in zip(DIMS, (*DIMS[1:], None), DEPTHS, strict=True)
    ]
    return [live('torchvision', lambda: TorchvisionConvNeXt(blocks, num_classes=CLASSES), 'logits')]


def transformers() -> list[Peer]:
    import transformers as hf

    sizes = dict(hidden_sizes=list(DIMS), depths=list(DEPTHS))
    config, config2 = (
        hf.ConvNextConfig(**sizes, num_labels=CLASSES),
        hf.ConvNextV2Config(**sizes, num_labels=CLASSES),
    )
    stages = [f'stage{i}' for i in (1, 2, 3, 4)]
    dense, dense2 = (
        hf.ConvNextConfig(**sizes, out_features=stages),
        hf.ConvNextV2Config(**sizes, out_features=stages),
    )
    dinov3 = hf.DINOv3ConvNextConfig(**sizes)

    def logits(model):
        return model(IMAGE).logits

    def maps(model):
        return model(IMAGE).feature_maps

    def tokens(model):
        return model(IMAGE).last_hidden_state

    new = live('transformers_dinov3', lambda: hf.DINOv3ConvNextModel(dinov3), 'tokens', tokens)
    # Final norm: transformers' own epsilon.
    return [
        live(
            'transformers',
            lambda: hf.ConvNextForImageClassification(config),
            'logits',
            logits,
            eps=1e-12,
        ),
        live(
            'transformers',
            lambda: hf.ConvNextV2ForImageClassification(config2),
            'logits',
            logits,
            eps=1e-12,
        ),
        live(
            'transformers',
            lambda: hf.ConvNextModel(config),
            'pooled',
            lambda m: m(IMAGE).pooler_output,
            1e-12,
        ),
        live('transformers', lambda: hf.ConvNextBackbone(dense), 'dense', maps),
        live('transformers', lambda: hf.ConvNextV2Backbone(dense2), 'dense', maps),
        new,
        live('transformers_dinov3', lambda: hf.DINOv3ConvNextBackbone(dinov3), 'maps', last_maps),
        replace(
            new,
            layout='transformers_dinov3_4',
            reload=None,
            state_dict={key.removeprefix('model.'): value for key, value in new.state_dict.items()},
        ),
    ]


def last_maps(model):
    model.out_features = ['stage1', 'stage2', 'stage3', 'stage4']
    return model(IMAGE).feature_maps


def import_mmpretrain():
    """Import mmpretrain's classes from ``.peers``, without its multimodal part.

    That part fails to import beside transformers 5, and so would mmdet, which imports mmpretrain.
    """
    sys.modules.setdefault(
        'mmpretrain.models.multimodal', ModuleType('mmpretrain.models.multimodal')
    )
    sys.path.append(str(GOLDEN.parents[1] / '.peers'))
    try:
        from mmpretrain.models import ConvNeXt, ImageClassifier
    finally:
        sys.path.pop()
    return ConvNeXt, ImageClassifier


def mmpretrain() -> list[Peer]:
    make_backbone, make_classifier = import_mmpretrain()

    def config(**kwargs):
        return dict(arch=dict(depths=list(DEPTHS), channels=list(DIMS)), **kwargs)

    v2 = dict(use_grn=True, layer_scale_init_value=0.0)
    dense = dict(out_indices=(0, 1, 2, 3), gap_before_final_norm=False)

    def classifier(**kwargs):
        def make():
            with DefaultScope.overwrite_default_scope(
                'mmpretrain'
            ):  # another test may have set mmseg's
                return make_classifier(
                    backbone=dict(type='ConvNeXt', **config(**kwargs)),
                    head=dict(type='LinearClsHead', in_channels=DIMS[-1], num_classes=CLASSES),
                )

        return make

    def backbone(**kwargs):
        def make():
            with DefaultScope.overwrite_default_scope('mmpretrain'):
                return make_backbone(**config(**kwargs))

        return make

    def logits(model):
        return model.head(model.extract_feat(IMAGE))

    convolutions = live('mmpretrain', classifier(linear_pw_conv=False), 'logits', logits)
    dense_convolutions = live('mmpretrain_dense', backbone(**dense, linear_pw_conv=False), 'dense')
    return [
        live('mmpretrain', classifier(), 'logits', logits),
        live('mmpretrain', classifier(**v2), 'logits', logits),
        live('mmpretrain', backbone(), 'pooled'),
        replace(convolutions, reload=None),
        live('mmpretrain_dense', backbone(**dense), 'dense'),
        live('mmpretrain_dense', backbone(**dense, **v2), 'dense'),
        replace(dense_convolutions, reload=None),
    ]


@cache
def peers(layout: str) -> list[Peer]:
    library = {'facebook': authors, 'dinov3': authors, 'fcmae': authors}.get(layout) or globals()[
        layout.split('_')[0]
    ]
    return [peer for peer in all_of(library) if peer.layout == layout]


@cache
def all_of(library: Callable[[], list[Peer]]) -> list[Peer]:
    return library()
