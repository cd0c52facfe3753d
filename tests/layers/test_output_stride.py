"""Dilated late stages: equal to timm's with the same weights, the same parameters, true strides."""

import importlib.util
from pathlib import Path

import pytest
import timm
import torch

from convnext_dense import models
from convnext_dense.layers import ConvNeXt

SMALL = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))
STRIDES = {8: (4, 8, 8, 8), 16: (4, 8, 16, 16), 32: (4, 8, 16, 32)}
all_strides = pytest.mark.parametrize('output_stride', STRIDES)


def load_parity():
    """The module next door: names of weights, and random weights that let no branch hide."""
    spec = importlib.util.spec_from_file_location(
        'timm_parity', Path(__file__).with_name('test_timm_parity.py')
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize('arch', ['atto', 'v2_atto'])
@pytest.mark.parametrize('size', [(75, 96), (41, 33)])
@all_strides
def test_equals_timm(arch, size, output_stride):
    parity = load_parity()
    theirs = timm.create_model(
        parity.timm_name(arch), features_only=True, output_stride=output_stride
    )
    theirs = parity.randomized(theirs).eval()
    ours = ConvNeXt(arch, output_stride=output_stride).eval()
    ours.load_state_dict(
        {
            parity.to_our_name(k): v.reshape(v.shape[:2]) if 'mlp.fc' in k and v.dim() == 4 else v
            for k, v in theirs.state_dict().items()
        }
    )
    assert list(ours.strides) == theirs.feature_info.reduction()
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        for mine, other in zip(ours(image), theirs(image), strict=True):
            assert (
                mine.shape == other.shape and ((mine - other).norm() / other.norm()).item() < 1e-5
            )


@all_strides
def test_strides_are_those_of_the_maps(output_stride):
    backbone = models.ConvNeXt(SMALL, output_stride=output_stride, out_indices=(0, 2, 3))
    sides = [output.shape[2:] for output in backbone(torch.randn(1, 3, 96, 64))]
    assert backbone.strides == STRIDES[output_stride]
    assert backbone.out_strides == tuple(STRIDES[output_stride][i] for i in (0, 2, 3))
    assert sides == [(96 // stride, 64 // stride) for stride in backbone.out_strides]


@pytest.mark.parametrize('output_stride', [8, 16])
def test_parameters_are_the_same_and_all_are_trained(output_stride):
    published, dilated = (
        models.ConvNeXt(SMALL),
        models.ConvNeXt(SMALL, output_stride=output_stride, with_cp=True),
    )
    assert {name: p.shape for name, p in published.named_parameters()} == {
        name: p.shape for name, p in dilated.named_parameters()
    }
    dilated.load_state_dict(published.state_dict())
    sum(output.square().mean() for output in dilated.train()(torch.randn(2, 3, 32, 48))).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in dilated.parameters())


def test_fewer_stages_than_would_be_dilated():
    backbone = models.ConvNeXt(SMALL, output_stride=16, out_indices=(0, 1))
    assert backbone.strides == (4, 8) and backbone.dilations == (1, 1)


def test_smallest_images():
    small = ConvNeXt(SMALL, output_stride=8)
    assert [tuple(output.shape[2:]) for output in small(torch.randn(1, 3, 8, 8))] == [
        (2, 2),
        (1, 1),
        (1, 1),
        (1, 1),
    ]
    with pytest.raises(ValueError, match='at least 8 x 8 px'):
        small(torch.randn(1, 3, 7, 64))
    with pytest.raises(ValueError, match='at least 16 x 16 px'):
        ConvNeXt(SMALL, output_stride=16)(torch.randn(1, 3, 64, 15))


@all_strides
def test_channels_last_is_kept(output_stride):
    model, image = ConvNeXt(SMALL, output_stride=output_stride).eval(), torch.randn(1, 3, 64, 96)
    inside = []
    for layer in (*model.downsample_layers, *model.stages):
        layer.register_forward_hook(lambda _module, _args, output: inside.append(output))
    expected = model(image)
    outputs = model(image.contiguous(memory_format=torch.channels_last))
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in (*inside, *outputs))
    assert all(output.is_contiguous() for output in expected)
    torch.testing.assert_close(tuple(o.contiguous() for o in outputs), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('value', [4, 24, 64, None, '16'])
def test_other_values_are_refused(value):
    with pytest.raises(ValueError, match=f'output_stride must be 8, 16 or 32.*got {value!r}'):
        ConvNeXt(SMALL, output_stride=value)
