"""On a CPU 'default' runs small maps as 'plain', and large ones, wide ones and 'low' in the lean form."""

import pytest
import torch

from convnext_dense.layers import ConvNeXt, ConvNeXtBlock, inference, lean
from convnext_dense.ops import dispatch

SMALL = lean.SMALL


@pytest.fixture(autouse=True)
def thresholds(monkeypatch):
    monkeypatch.setattr(lean, 'SMALL', 8 * 16)
    monkeypatch.setattr(lean, 'WIDE', 32)


@pytest.fixture
def forms(monkeypatch):
    """Names of the forms that ran."""
    ran = []

    def note(owner, name, form):
        function = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args: ran.append(form) or function(*args))

    note(lean, 'run', 'lean')
    note(ConvNeXtBlock, '_plain', 'plain')
    note(inference.Packed, '__call__', 'packed')
    return ran


@pytest.mark.parametrize(
    'dim, side, memory, grads, optimized, expected',
    [
        (8, 3, 'default', True, False, 'plain'),
        (8, 4, 'default', True, False, 'lean'),
        (32, 1, 'default', True, False, 'lean'),
        (8, 3, 'low', True, False, 'lean'),
        (8, 3, 'plain', True, False, 'plain'),
        (8, 5, 'default', False, False, 'plain'),
        (32, 2, 'default', False, False, 'plain'),
        (8, 3, 'low', False, False, 'plain'),
        (8, 6, 'default', False, False, 'lean'),
        (8, 3, 'default', True, True, 'plain'),
        (8, 3, 'default', False, True, 'plain'),
        (8, 4, 'default', False, True, 'packed'),
        (32, 1, 'default', False, True, 'packed'),
        (32, 1, 'low', False, True, 'packed'),
        (8, 3, 'low', True, True, 'lean'),
    ],
)
def test_form(dim, side, memory, grads, optimized, expected, forms):
    block = ConvNeXtBlock(dim, memory=memory, layer_scale_init_value=1.0).eval()
    block.optimized, x = optimized, torch.randn(1, dim, side, side)
    with torch.set_grad_enabled(grads):
        out = block(x)
        reasons = block.why_plain(x)
    assert forms == [expected]
    if memory != 'plain':
        small = [f'the map, {tuple(x.shape)}, is so small that plain is faster']
        assert reasons == (small if expected == 'plain' else [])
    block.memory = 'plain'
    torch.testing.assert_close(out, block(x))


def test_an_optimized_block_in_training_is_not_packed(forms):
    block = ConvNeXtBlock(8)
    block.optimized = True
    with torch.no_grad():
        block(torch.randn(1, 8, 5, 5))
    assert forms == ['plain']


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('autocast', [False, True])
def test_half_precision_is_lean_with_gradients(dtype, autocast, forms):
    block, x = ConvNeXtBlock(8).to(torch.float32 if autocast else dtype), torch.randn(1, 8, 3, 3)
    with torch.autocast('cpu', dtype, enabled=autocast):
        block(x if autocast else x.to(dtype))
        with torch.no_grad():
            block(x if autocast else x.to(dtype))
    assert forms == ['lean', 'plain']


def test_sums_of_a_small_map_are_wide_under_autocast(monkeypatch):
    monkeypatch.setattr(lean, 'SMALL', SMALL)
    block, x, grad = (
        ConvNeXtBlock(16, layer_scale_init_value=1.0),
        torch.randn(1, 16, 60, 60),
        torch.rand(1, 16, 60, 60),
    )
    gradients = []
    for autocast in (True, False):
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            out = block(x)
        gradients.append(torch.autograd.grad(out, block.norm.bias, grad.to(out.dtype))[0])
    assert (gradients[0] - gradients[1]).norm() < 0.03 * gradients[1].norm()


def test_a_batch_counts_whole(forms):
    ConvNeXtBlock(8)(torch.randn(2, 8, 3, 3))
    assert forms == ['lean']


def test_the_interpreter_stands_for_a_gpu(forms, monkeypatch):
    monkeypatch.setattr(dispatch, 'interpreted', lambda: True)
    ConvNeXtBlock(8)(torch.randn(1, 8, 3, 3))
    assert forms == ['lean']


@pytest.mark.parametrize('device', ['cpu', 'meta'])
def test_only_a_cpu_has_small_maps(device):
    assert lean.is_small(torch.empty(1, 8, 3, 3, device=device), packed=False, wanted=False) == (
        device == 'cpu'
    )


def test_a_network_of_both_forms_equals_plain(forms, monkeypatch):
    """Of 64 x 64 pixels the first stage's map has 8 x 256 elements, and the last one 32 channels."""
    monkeypatch.setattr(lean, 'SMALL', 8 * 200)
    gradients = []
    for memory in ('plain', 'default'):
        torch.manual_seed(0)
        model = ConvNeXt(
            dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)),
            memory=memory,
            layer_scale_init_value=1.0,
        )
        sum(out.square().sum() for out in model(torch.randn(1, 3, 64, 64))).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    assert forms == ['plain'] * 4 + ['lean', 'plain', 'plain', 'lean']
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


def test_no_stage_of_tiny_is_small_at_512_pixels(monkeypatch):
    """The table of memory in docs/performance.md is of the lean form."""
    monkeypatch.setattr(lean, 'SMALL', SMALL)
    maps = [
        torch.empty(1, dim, side, side) for dim, side in zip((96, 192, 384, 768), (128, 64, 32, 16))
    ]
    assert not any(lean.is_small(x, packed=False, wanted=False) for x in maps)
    assert ConvNeXtBlock(96)(torch.empty(0, 96, 16, 16)).shape == (0, 96, 16, 16)
