"""On a CPU 'default' runs small maps as 'plain', and large ones, wide ones and 'low' in the lean form."""
import pytest
import torch

from convnext_dense.layers import ConvNeXtBlock, inference, lean
from convnext_dense.ops import dispatch

SMALL, WIDE = lean.SMALL, lean.WIDE


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


@pytest.mark.parametrize('dim, side, memory, grads, optimized, expected', [
    (8, 3, 'default', True, False, 'plain'),
    (8, 4, 'default', True, False, 'lean'),
    (32, 1, 'default', True, False, 'lean'),
    (8, 3, 'low', True, False, 'lean'),
    (8, 3, 'plain', True, False, 'plain'),
    (8, 5, 'default', False, False, 'plain'),
    (32, 2, 'default', False, False, 'plain'),
    (8, 3, 'low', False, False, 'plain'),
    (8, 6, 'default', False, False, 'lean'),
    (8, 3, 'default', False, True, 'plain'),
    (8, 4, 'default', False, True, 'packed'),
    (32, 1, 'low', False, True, 'packed'),
    (8, 3, 'low', True, True, 'lean')])
def test_form(dim, side, memory, grads, optimized, expected, forms):
    block, x = ConvNeXtBlock(dim, memory=memory).eval(), torch.randn(1, dim, side, side)
    block.optimized = optimized
    with torch.set_grad_enabled(grads):
        out = block(x)
        reasons = block.why_plain(x)
    assert forms == [expected]
    if memory != 'plain':
        small = [f'the map, {tuple(x.shape)}, is so small that plain is faster']
        assert reasons == (small if expected == 'plain' else [])
    block.memory = 'plain'
    torch.testing.assert_close(out, block(x))


def test_a_batch_counts_whole(forms):
    ConvNeXtBlock(8)(torch.randn(2, 8, 3, 3))
    assert forms == ['lean']


def test_the_interpreter_stands_for_a_gpu(forms, monkeypatch):
    monkeypatch.setattr(dispatch, 'interpreted', lambda: True)
    ConvNeXtBlock(8)(torch.randn(1, 8, 3, 3))
    assert forms == ['lean']


def test_every_stage_of_tiny_keeps_little_at_512_pixels():
    """The table of memory in docs/performance.md is of the lean form."""
    assert all(dim * (512 // stride) ** 2 >= SMALL for dim, stride in zip((96, 192, 384, 768), (4, 8, 16, 32)))
    assert WIDE == 768
