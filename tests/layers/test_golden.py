"""Outputs and gradients against values computed with the authors' code."""

from pathlib import Path

import numpy as np
import pytest
import torch

from convnext_dense import layers
from convnext_dense.models import ConvNeXt

GOLDEN = Path(__file__).parents[1] / 'golden'
SHAPE = dict(depths=(2, 2, 3, 2), dims=(8, 16, 32, 64))
TOLERANCE = 1e-5


def read(name):
    with np.load(GOLDEN / f'{name}.npz') as file:
        return {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}


def parameters(values):
    return {
        key.removeprefix('param/'): value
        for key, value in values.items()
        if key.startswith('param/')
    }


def relative_error(actual, expected):
    return ((actual - expected).norm() / expected.norm()).item()


@pytest.fixture(
    params=[torch.contiguous_format, torch.channels_last], ids=['contiguous', 'channels_last']
)
def memory_format(request):
    return request.param


def test_v1_dense_outputs_and_every_gradient(memory_format):
    golden, gradients = read('convnext_v1_dense'), read('convnext_v1_dense_grads')
    model = ConvNeXt(arch=SHAPE)
    model.load_state_dict(parameters(golden))
    image = golden['input'].contiguous(memory_format=memory_format).requires_grad_()
    outputs = model(image)
    for i, output in enumerate(outputs):
        assert relative_error(output, golden[f'output{i}']) < TOLERANCE

    loss = (
        sum(
            (output * torch.linspace(-1, 1, output.numel()).view(output.shape)).sum()
            for output in outputs
        )
        / 1000
    )
    loss.backward()
    assert loss.item() == pytest.approx(gradients['loss'].item(), rel=TOLERANCE)
    actual = {f'grad/{name}': parameter.grad for name, parameter in model.named_parameters()} | {
        'grad/input': image.grad
    }
    assert actual.keys() == gradients.keys() - {'loss'}
    for name, gradient in actual.items():
        assert relative_error(gradient, gradients[name]) < TOLERANCE, name


def test_v2_raw_maps(memory_format):
    golden = read('convnext_v2_classifier')
    model = layers.ConvNeXt(arch=SHAPE | dict(use_grn=True))
    weights = {k: v for k, v in parameters(golden).items() if not k.startswith(('norm.', 'head.'))}
    assert weights['stages.0.0.grn.gamma'].shape == (
        1,
        1,
        1,
        32,
    )  # the authors' shape; ours is (32,)
    model.load_state_dict(weights)
    for i, output in enumerate(
        model(golden['input'].contiguous(memory_format=memory_format)), start=1
    ):
        assert relative_error(output, golden[f'output{i}']) < TOLERANCE


def test_v1_classifier_trunk_feeds_the_authors_logits():
    golden = read('convnext_v1_classifier')
    weights = parameters(golden)
    model = layers.ConvNeXt(arch=SHAPE)
    model.load_state_dict(
        {k: v for k, v in weights.items() if not k.startswith(('norm.', 'head.'))}
    )
    pooled = model(golden['input'])[-1].mean(dim=(2, 3))
    pooled = torch.nn.functional.layer_norm(
        pooled, (64,), weights['norm.weight'], weights['norm.bias'], 1e-6
    )
    logits = torch.nn.functional.linear(pooled, weights['head.weight'], weights['head.bias'])
    assert relative_error(logits, golden['output0']) < TOLERANCE
