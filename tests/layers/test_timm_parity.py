"""Every arch against timm's network holding the same random weights."""

import re

import pytest
import timm
import torch

from convnext_dense.layers import ConvNeXt
from convnext_dense.variants import VARIANTS

LARGE = {
    'large',
    'xlarge',
    'xxlarge',
    'v2_large',
    'v2_huge',
    'base',
    'v2_base',
    'small',
    'v2_small',
}
RULES = [
    (r'^stem_0', 'downsample_layers.0.0'),
    (r'^stem_1', 'downsample_layers.0.1'),
    (r'^stages_(\d+)\.downsample', r'downsample_layers.\1'),
    (r'^stages_(\d+)\.blocks', r'stages.\1'),
    (r'conv_dw', 'dwconv'),
    (r'mlp\.grn\.weight', 'grn.gamma'),
    (r'mlp\.grn\.bias', 'grn.beta'),
    (r'mlp\.fc', 'pwconv'),
]


def timm_name(arch):
    return (
        f'convnextv2_{arch.removeprefix("v2_")}' if arch.startswith('v2_') else f'convnext_{arch}'
    )


def to_our_name(name):
    for pattern, replacement in RULES:
        name = re.sub(pattern, replacement, name)
    return name


def randomized(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():  # gammas of 1e-6 and GRN's zeros would hide the branch
            scale = parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
            parameter.copy_(
                torch.randn(parameter.shape, generator=generator) * scale
                + (parameter.dim() == 1) * 0.5
            )
    return model


def assert_equal_to_timm(arch, size):
    theirs = randomized(timm.create_model(timm_name(arch), features_only=True)).eval()
    ours = ConvNeXt(arch).eval()
    ours.load_state_dict(
        {
            to_our_name(k): v.reshape(v.shape[:2]) if 'mlp.fc' in k and v.dim() == 4 else v
            for k, v in theirs.state_dict().items()
        }
    )
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for mine, other in zip(ours(image), theirs(image), strict=True):
            assert ((mine - other).norm() / other.norm()).item() < 1e-5


@pytest.mark.parametrize('arch', sorted(VARIANTS.keys() - LARGE))
def test_equals_timm(arch):
    assert_equal_to_timm(arch, (75, 96))


@pytest.mark.slow
@pytest.mark.parametrize('arch', sorted(LARGE))
def test_large_equals_timm(arch):
    assert_equal_to_timm(arch, (32, 43))


@pytest.mark.parametrize('arch', sorted(LARGE))
def test_large_has_timms_parameters(arch):
    with torch.device('meta'):
        theirs, ours = timm.create_model(timm_name(arch), features_only=True), ConvNeXt(arch)
    assert sorted(p.numel() for p in ours.parameters()) == sorted(
        p.numel() for p in theirs.parameters()
    )
    assert {m.eps for m in ours.modules() if isinstance(m, torch.nn.LayerNorm)} == {
        m.eps for m in theirs.modules() if isinstance(m, torch.nn.LayerNorm)
    }
