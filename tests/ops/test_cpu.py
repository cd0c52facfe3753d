"""The CPU's own forms against the references."""

import pytest
import torch

from convnext_dense.ops import cpu, dispatch, functional, products, reference

DTYPES = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float64: 1e-12}
all_dtypes = pytest.mark.parametrize('dtype', DTYPES, ids=str)


def draw(*shape, dtype=torch.float32):
    return torch.randn(shape, dtype=torch.float64).to(dtype)


def assert_close(actual, expected, tolerance):
    assert actual.shape == expected.shape
    assert (actual.double() - expected.double()).norm() <= tolerance * expected.double().norm()


@pytest.mark.parametrize('way', sorted(cpu._WAYS))
@all_dtypes
@pytest.mark.parametrize(
    'shape',
    [
        (1, 1, 1, 3),
        (2, 5, 7, 8),
        (1, 128, 32, 4),
        (2, 130, 40, 5),
        (1, 33, 65, 4),
        (1, 3, 257, 2),
        (3, 2, 2, 16),
    ],
    ids=str,
)
def test_depthwise_weight_grad(way, dtype, shape, monkeypatch):
    """Odd sizes, sizes above a tile, more than one image."""
    monkeypatch.setattr(cpu, '_way', lambda *_: way)
    grad, x = draw(*shape, dtype=dtype), draw(*shape, dtype=dtype)
    weight, bias = cpu.depthwise_weight_grad(grad, x)
    expected = reference.depthwise_weight_grad(grad.double(), x.double())
    assert weight.dtype == bias.dtype == torch.promote_types(dtype, torch.float32)
    assert weight.shape == (shape[-1], 1, 7, 7)
    assert_close(weight, expected[0], DTYPES[dtype])
    assert_close(bias, expected[1], DTYPES[dtype])


def test_long_sums_keep_their_digits():
    """Of numbers that do not cancel, over 147456 pixels."""
    grad, x = torch.rand(1, 384, 384, 2), torch.rand(1, 384, 384, 2)
    weight, _ = cpu._by_forward(grad, x)
    assert_close(weight, reference.depthwise_weight_grad(grad.double(), x.double())[0], 1e-6)


def test_depthwise_weight_grad_of_no_image():
    weight, bias = cpu.depthwise_weight_grad(torch.empty(0, 5, 6, 8), torch.empty(0, 5, 6, 8))
    assert torch.equal(weight, torch.zeros(8, 1, 7, 7)) and torch.equal(bias, torch.zeros(8))


def test_depthwise_weight_grad_on_another_default_device():
    grad, x = draw(1, 9, 9, 4), draw(1, 9, 9, 4)
    with torch.device('meta'):
        weight, _ = cpu._by_forward(grad, x)
    assert_close(weight, reference.depthwise_weight_grad(grad, x)[0], 1e-5)


def test_the_way_of_the_weight_grad_is_found_once_and_draws_nothing(monkeypatch):
    seen, fastest = [], products.fastest
    monkeypatch.setattr(products, 'fastest', lambda ways: seen.append(list(ways)) or fastest(ways))
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 12345)  # as no other test has it
    x = draw(1, 5, 5, 4)
    before = torch.random.get_rng_state()
    for _ in range(2):
        cpu.depthwise_weight_grad(x, x)
    assert seen == [['forward', 'backward']] and torch.equal(before, torch.random.get_rng_state())


def test_deterministic_algorithms_need_no_probe(monkeypatch):
    monkeypatch.setattr(products, 'fastest', lambda ways: pytest.fail('asked for a probe'))
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 54321)
    x = draw(1, 5, 5, 4)
    torch.use_deterministic_algorithms(True)
    try:
        weight, _ = cpu.depthwise_weight_grad(x, x)
    finally:
        torch.use_deterministic_algorithms(False)
    assert_close(weight, reference.depthwise_weight_grad(x, x)[0], 1e-5)


@all_dtypes
@pytest.mark.parametrize('shape', [(2, 5, 7, 8), (1, 1, 1, 24), (3, 9, 1, 12)], ids=str)
@pytest.mark.parametrize('residual', [None, torch.float32, torch.bfloat16], ids=str)
def test_depthwise_input_grad(dtype, shape, residual):
    grad, weight = draw(*shape, dtype=dtype), draw(shape[-1], 1, 7, 7)
    residual = None if residual is None else draw(*shape, dtype=residual)
    given = None if residual is None else residual.clone()
    actual = cpu.depthwise_input_grad(grad, weight, given)
    expected = reference.depthwise_input_grad(grad, weight, residual)
    assert residual is None or torch.equal(given, residual)  # not written
    assert actual.is_contiguous()
    assert_close(
        actual, expected, DTYPES[dtype] if residual is None or residual.dtype == dtype else 1e-2
    )


@all_dtypes
@pytest.mark.parametrize('rows', [(1,), (67,), (2, 5, 3), (0,)], ids=str)
@pytest.mark.parametrize('scaled', [False, True])
def test_products(dtype, rows, scaled):
    x, weight1, weight2 = (
        draw(*rows, 12, dtype=dtype),
        draw(20, 12, dtype=dtype),
        draw(12, 20, dtype=dtype),
    )
    scale, bias1, bias2 = draw(rows[0]) if scaled else None, draw(20), draw(12)
    tolerance = DTYPES[dtype]
    for keep in (True, False):
        for actual, expected in zip(
            cpu.linear_gelu(x, weight1, bias1, keep),
            reference.linear_gelu(x, weight1, bias1, keep),
            strict=True,
        ):
            assert actual.dtype == dtype
            assert_close(actual, expected, tolerance)
    grad = draw(*rows, 12, dtype=dtype)
    for actual, expected in zip(
        cpu.mlp_backward(x, weight1, bias1, grad, weight2, scale),
        reference.mlp_backward(x, weight1, bias1, grad, weight2, scale),
        strict=True,
    ):
        assert_close(actual, expected, tolerance)
    hidden = draw(*rows, 20, dtype=dtype)
    for gamma in (None, draw(12)):
        for residual in (draw(*rows, 12), draw(*rows, 12, dtype=dtype)):
            args = hidden, weight2, bias2, gamma, scale, residual
            before = residual.clone()
            actual = cpu.linear_residual(*args)
            assert actual.dtype == residual.dtype and torch.equal(residual, before)
            assert_close(actual, reference.linear_residual(*args), tolerance)


def test_they_run_by_themselves_on_a_cpu_and_can_be_forbidden(monkeypatch):
    calls = []
    for operation in dispatch.ON_CPU:
        assert dispatch.choose(operation, torch.ones(1, 2, 2, 4)) == 'cpu'
        with dispatch.forbid():
            assert dispatch.choose(operation, torch.ones(1, 2, 2, 4)) == 'torch'
    monkeypatch.setattr(cpu, 'linear_gelu', lambda *args, **kwargs: calls.append(args))
    x = torch.ones(3, 4)
    functional.linear_gelu(x, torch.ones(5, 4), torch.ones(5))
    functional.linear_gelu(x, torch.ones(5, 4), torch.ones(5), implementation='torch')
    assert len(calls) == 1
    with pytest.raises(ValueError, match="'cpu' cannot run linear_gelu: its tensors are on meta"):
        dispatch.choose('linear_gelu', x.to('meta'), implementation='cpu')
    with pytest.raises(
        ValueError, match="'cpu' cannot run layer_norm: it has no form of its own there"
    ):
        dispatch.choose('layer_norm', x, implementation='cpu')
