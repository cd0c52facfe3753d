"""The CPU's operations against the reference, and how the depthwise weight gradient is chosen."""

import pytest
import torch

from convnext_dense.ops import BY_DEVICE, TORCH_OPS, CpuOps, cpu_ops, get_ops

OPS = CpuOps()
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float64: 1e-12}
all_dtypes = pytest.mark.parametrize('dtype', TOLERANCES, ids=str)


def draw(*shape, dtype=torch.float32):
    return torch.randn(shape, dtype=torch.float64).to(dtype)


def assert_close(actual, expected, tolerance):
    assert actual.shape == expected.shape
    assert (actual.double() - expected.double()).norm() <= tolerance * expected.double().norm()


def test_a_cpu_has_operations_of_its_own_and_other_devices_the_reference(monkeypatch):
    assert isinstance(get_ops(torch.device('cpu')), CpuOps)
    assert get_ops(torch.device('cuda:1')) is TORCH_OPS
    assert get_ops(torch.device('meta')) is TORCH_OPS
    monkeypatch.setitem(BY_DEVICE, 'cuda', OPS)
    assert get_ops(torch.device('cuda:1')) is OPS


# Sides above and below the tile of 64, and several images.
SHAPES = [
    (1, 1, 1, 3),
    (2, 5, 7, 8),
    (2, 130, 40, 5),
    (1, 33, 65, 4),
    (1, 3, 257, 2),
    (3, 2, 2, 16),
]


@pytest.mark.parametrize('method', cpu_ops.DEPTHWISE_METHODS)
@all_dtypes
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_depthwise_weight_grad(method, dtype, shape):
    grad, x = draw(*shape, dtype=dtype), draw(*shape, dtype=dtype)
    dweight, dbias = cpu_ops.DEPTHWISE_METHODS[method](grad, x)
    expected = TORCH_OPS.depthwise_weight_grad(grad.double(), x.double())
    assert dweight.dtype == dbias.dtype == torch.promote_types(dtype, torch.float32)
    assert_close(dweight, expected[0], TOLERANCES[dtype])
    assert_close(dbias, expected[1], TOLERANCES[dtype])


def test_long_sums_keep_their_digits():
    """Of numbers that do not cancel, over 147456 pixels."""
    grad, x = torch.rand(1, 384, 384, 2), torch.rand(1, 384, 384, 2)
    dweight, _ = cpu_ops.DEPTHWISE_METHODS['forward'](grad, x)
    assert_close(dweight, TORCH_OPS.depthwise_weight_grad(grad.double(), x.double())[0], 1e-6)


def test_depthwise_weight_grad_of_no_image():
    dweight, dbias = OPS.depthwise_weight_grad(torch.empty(0, 5, 6, 8), torch.empty(0, 5, 6, 8))
    assert torch.equal(dweight, torch.zeros(8, 1, 7, 7))
    assert torch.equal(dbias, torch.zeros(8))


def test_depthwise_weight_grad_ignores_the_default_device():
    grad, x = draw(1, 70, 9, 4), draw(1, 70, 9, 4)
    with torch.device('meta'):
        dweight, _ = cpu_ops.DEPTHWISE_METHODS['forward'](grad, x)
    assert_close(dweight, TORCH_OPS.depthwise_weight_grad(grad, x)[0], 1e-5)


def test_the_method_is_measured_once_and_draws_no_random_numbers(monkeypatch):
    seen, fastest = [], cpu_ops.fastest
    monkeypatch.setattr(
        cpu_ops, 'fastest', lambda calls: seen.append(list(calls)) or fastest(calls)
    )
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 12345)  # not cached by another test
    x = draw(1, 5, 5, 4)
    before = torch.random.get_rng_state()
    for _ in range(2):
        OPS.depthwise_weight_grad(x, x)
    assert seen == [['forward', 'backward']]
    assert torch.equal(before, torch.random.get_rng_state())


def test_deterministic_algorithms_need_no_probe(monkeypatch):
    monkeypatch.setattr(cpu_ops, 'fastest', lambda calls: pytest.fail('asked for a probe'))
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 54321)
    torch.use_deterministic_algorithms(True)
    try:
        assert cpu_ops.choose_depthwise_method(torch.ones(1, 5, 5, 4)) == 'forward'
    finally:
        torch.use_deterministic_algorithms(False)


@all_dtypes
@pytest.mark.parametrize('rows', [(1,), (67,), (2, 5, 3), (0,)], ids=str)
def test_products(dtype, rows):
    x, weight, bias = draw(*rows, 12, dtype=dtype), draw(20, 12, dtype=dtype), draw(20, dtype=dtype)
    grad = draw(*rows, 20, dtype=dtype)
    for name, args in {
        'linear': (x, weight, bias),
        'linear_input_grad': (grad, weight),
        'linear_weight_grad': (grad, x),
        'linear_gelu': (x, weight, bias),
    }.items():
        actual = getattr(OPS, name)(*args)
        expected = getattr(TORCH_OPS, name)(*args)
        if isinstance(actual, torch.Tensor):
            actual, expected = (actual,), (expected,)
        for ours, theirs in zip(actual, expected, strict=True):
            assert ours.dtype == theirs.dtype
            assert_close(ours, theirs, TOLERANCES[dtype])


@all_dtypes
@pytest.mark.parametrize('gamma', [None, torch.float32], ids=str)
@pytest.mark.parametrize('scale', [None, torch.float32], ids=str)
@pytest.mark.parametrize('residual', [None, torch.float32], ids=str)
def test_linear_residual(dtype, gamma, scale, residual):
    x, weight, bias = draw(2, 5, 20, dtype=dtype), draw(12, 20, dtype=dtype), draw(12, dtype=dtype)
    residual = draw(2, 5, 12, dtype=residual or dtype)
    gamma = None if gamma is None else draw(12)
    scale = None if scale is None else draw(2, 1, 1)
    before = residual.clone()
    out = OPS.linear_residual(x, weight, bias, gamma, scale, residual)
    assert torch.equal(residual, before)
    assert out.dtype == residual.dtype
    expected = TORCH_OPS.linear_residual(x, weight, bias, gamma, scale, residual)
    assert_close(out, expected, TOLERANCES[dtype])
