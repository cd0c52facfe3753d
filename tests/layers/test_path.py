"""Which path a block takes: 'full' (autograd), 'saving' or 'packed' (inference)."""

import pytest
import torch

from convnext_dense.layers import ConvNeXt, ConvNeXtBlock, path

# Channels and side of square maps, on both sides of the thresholds: 2^17 elements and 768 channels.
BELOW = (8, 127)
AT = (8, 128)
TWICE = (8, 182)
WIDE = (768, 1)


def choose(memory, shape, grad=True, optimized=False, dtype=torch.float32, autocast=None):
    dim, side = shape
    block = ConvNeXtBlock(dim, memory=memory).to(dtype).eval()
    block.optimized = optimized
    x = torch.empty(1, dim, side, side, dtype=dtype)
    with torch.set_grad_enabled(grad):
        return path.choose_path(block, x, autocast)


@pytest.mark.parametrize(
    ('shape', 'grad', 'optimized', 'expected'),
    [
        (BELOW, True, False, 'full'),
        (AT, True, False, 'saving'),
        (WIDE, True, False, 'saving'),
        (AT, False, False, 'full'),
        (WIDE, False, False, 'full'),
        (TWICE, False, False, 'saving'),
        (BELOW, True, True, 'full'),
        (BELOW, False, True, 'full'),
        (AT, False, True, 'packed'),
        (WIDE, False, True, 'packed'),
        (AT, True, True, 'saving'),
    ],
)
def test_auto_depends_on_the_size_of_the_map(shape, grad, optimized, expected):
    assert choose('auto', shape, grad, optimized) == expected


@pytest.mark.parametrize('memory', ['half', 'low'])
@pytest.mark.parametrize('grad', [True, False])
def test_explicit_modes_do_not_depend_on_the_size_of_the_map(memory, grad):
    assert choose(memory, (8, 1), grad) == 'saving'
    assert choose(memory, (8, 1), grad, optimized=True) == ('saving' if grad else 'packed')


@pytest.mark.parametrize('grad', [True, False])
@pytest.mark.parametrize('optimized', [True, False])
def test_full_is_never_overruled(grad, optimized):
    assert choose('full', WIDE, grad, optimized) == 'full'


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_saves_at_any_size_with_gradients(dtype):
    """Because torch's sums for LayerNorm's gradients lose digits there."""
    for kwargs in (dict(autocast=dtype), dict(dtype=dtype)):
        assert choose('auto', (8, 3), grad=True, **kwargs) == 'saving'
        assert choose('auto', (8, 3), grad=False, **kwargs) == 'full'


def test_sums_of_a_small_map_keep_their_digits_under_autocast():
    torch.manual_seed(0)
    block = ConvNeXtBlock(16, layer_scale_init_value=1.0)
    x, grad = torch.randn(1, 16, 60, 60), torch.rand(1, 16, 60, 60)
    gradients = []
    for autocast in (True, False):
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            out = block(x)
        gradients.append(torch.autograd.grad(out, block.norm.bias, grad.to(out.dtype))[0])
    narrow, wide = gradients
    assert (narrow - wide).norm() < 0.03 * wide.norm()


def test_a_training_block_is_not_packed():
    block = ConvNeXtBlock(8, memory='half').train()
    block.optimized = True
    with torch.no_grad():
        assert path.choose_path(block, torch.empty(1, 8, 4, 4), None) == 'saving'


def test_a_batch_counts_whole():
    x = torch.empty(2, 8, 127, 127)
    assert path.choose_path(ConvNeXtBlock(8), x, None) == 'saving'


def test_reasons_are_the_decision():
    """``why_full`` names what ``choose_path`` decides by; both read the same conditions."""
    small, large = torch.empty(1, 8, 3, 3), torch.empty(1, 8, 128, 128)
    block = ConvNeXtBlock(8)
    assert block.why_full(large) == []
    (reason,) = block.why_full(small)
    assert reason == 'autograd is faster for a map as small as (1, 8, 3, 3)'
    block.memory = 'full'
    assert block.why_full(small) == ["memory is 'full'"]


def test_every_reason_is_told():
    block = ConvNeXtBlock(8, dilation=2).double()
    block.dwconv.bias = None
    assert block.why_full(torch.empty(1, 8, 3, 3)) == [
        'autograd is faster for a map as small as (1, 8, 3, 3)',
        'the depthwise convolution is dilated by 2',
        'a part has no weight or bias',
        'the input is torch.float32, and input and weights have several dtypes: '
        'torch.float32 and torch.float64',
    ]


def test_a_network_of_both_paths_equals_full():
    """Of 64 x 64 pixels the first stage's map is small, the second one wide."""
    arch = dict(depths=(1, 1), dims=(8, 768))
    gradients = {}
    for memory in ('full', 'auto'):
        torch.manual_seed(0)
        model = ConvNeXt(arch, memory=memory, layer_scale_init_value=1.0)
        maps = model(torch.randn(1, 3, 64, 64))
        sum(out.square().sum() for out in maps).backward()
        gradients[memory] = [parameter.grad for parameter in model.parameters()]
    torch.testing.assert_close(gradients['auto'], gradients['full'], rtol=1e-3, atol=1e-3)


def test_no_stage_of_tiny_is_small_at_512_pixels():
    """The table of memory in docs/performance/measured.md holds for 'auto'."""
    for dim, side in zip((96, 192, 384, 768), (128, 64, 32, 16), strict=True):
        assert ConvNeXtBlock(dim).why_full(torch.empty(1, dim, side, side)) == []
