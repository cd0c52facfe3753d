"""Matrix matmul: all methods give the same, and the fastest is chosen."""

import time

import pytest
import torch

from convnext_dense.ops import matmul, probe

DTYPES = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3, torch.float64: 1e-12}


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.fixture
def no_probe(monkeypatch):
    monkeypatch.setattr(matmul, 'probe', lambda *args: pytest.fail(f'asked for a probe: {args}'))


def assert_close(actual, expected, dtype):
    assert actual.dtype == dtype and actual.shape == expected.shape
    assert (actual.double() - expected).norm() <= DTYPES[dtype] * expected.norm()


def rows(shape, dtype):
    """Maps and rows that lie as they should, transposed, and with gaps."""
    whole = torch.randn(*shape, 2, dtype=torch.float64).to(dtype)
    yield whole[..., 0].contiguous()
    yield whole[..., 0]
    if len(shape) == 2:
        yield whole[..., 0].t().contiguous().t()


ways = pytest.mark.parametrize('way', sorted(matmul.METHODS['linear']))
weight_ways = pytest.mark.parametrize('way', sorted(matmul.METHODS['weight_grad']))
all_dtypes = pytest.mark.parametrize('dtype', DTYPES, ids=str)
shapes = pytest.mark.parametrize(
    'shape', [(1, 5), (67, 24), (257, 33), (3, 7, 11, 40), (2, 1, 1, 8)], ids=str
)


@ways
@all_dtypes
@shapes
def test_linear(way, dtype, shape, monkeypatch):
    monkeypatch.setattr(
        matmul, 'choose_method', lambda *_: way if dtype != torch.float64 else 'matmul'
    )
    weight, bias = (
        torch.randn(19, shape[-1], dtype=torch.float64).to(dtype),
        torch.randn(19).to(dtype),
    )
    for x in rows(shape, dtype):
        for w in (weight, weight.t().contiguous().t()):
            expected = x.double() @ w.double().t()
            assert_close(matmul.linear(x, w), expected, dtype)
            actual = matmul.linear(x, w, bias)
            assert actual.is_contiguous()
            assert_close(actual, expected + bias.double(), dtype)


@weight_ways
@all_dtypes
@shapes
def test_weight_grad(way, dtype, shape, monkeypatch):
    monkeypatch.setattr(
        matmul, 'choose_method', lambda *_: way if dtype != torch.float64 else 'matmul'
    )
    for x in rows(shape, dtype):
        for grad in rows((*shape[:-1], 19), dtype):
            expected = grad.double().reshape(-1, 19).t() @ x.double().reshape(-1, shape[-1])
            assert_close(matmul.weight_grad(grad, x), expected, dtype)


@pytest.mark.parametrize('way', sorted(matmul.METHODS['input_grad']))
@all_dtypes
@shapes
def test_input_grad(way, dtype, shape, monkeypatch):
    monkeypatch.setattr(
        matmul, 'choose_method', lambda *_: way if dtype != torch.float64 else 'matmul'
    )
    weight = torch.randn(shape[-1], 20, dtype=torch.float64).to(dtype)
    for grad in rows(shape, dtype):
        assert_close(matmul.input_grad(grad, weight), grad.double() @ weight.double(), dtype)


@pytest.mark.parametrize('shape', [(0, 8), (0, 3, 4, 8), (2, 0, 4, 8)])
def test_nothing(shape, no_probe):
    x = torch.empty(shape)
    assert matmul.linear(x, torch.ones(3, 8), torch.ones(3)).shape == (*shape[:-1], 3)
    assert torch.equal(matmul.weight_grad(torch.empty(*shape[:-1], 3), x), torch.zeros(3, 8))


def test_a_probe_runs_once_for_each_size_dtype_and_number_of_threads(monkeypatch):
    """Rows are rounded up to a power of two, at most 2048, and at most 256 for a large weight."""
    seen, rows = [], []

    def fastest(ways):
        seen.append(sorted(ways))
        rows.append(len(ways['matmul'].args[0]))
        return 'matmul'

    monkeypatch.setattr(matmul, 'fastest', fastest)
    matmul.probe.cache_clear()
    try:
        for _ in range(2):
            for count, dtype in ((5, torch.float32), (8, torch.float32), (5, torch.bfloat16)):
                x, weight = torch.ones(count, 8, dtype=dtype), torch.ones(6, 8, dtype=dtype)
                matmul.linear(x, weight)
                matmul.weight_grad(torch.ones(count, 6, dtype=dtype), x)
        assert (
            sorted(map(tuple, seen))
            == [('convolution', 'matmul')] * 2
            + [('convolution', 'matmul', 'transposed convolution')] * 2
        )
        monkeypatch.setattr(torch, 'get_num_threads', lambda: 7)
        matmul.linear(x, weight)
        matmul.linear(x, torch.ones(7, 8, dtype=dtype))
        assert len(seen) == 6
        for count in (9, 1500, 2048, 5000):
            matmul.linear(torch.ones(count, 8), torch.ones(6, 8))
        for count in (100, 257, 5000):
            matmul.linear(torch.ones(count, 1024), torch.ones(2048, 1024))
        assert rows == [8] * 6 + [16, 2048] + [128, 256]
    finally:
        matmul.probe.cache_clear()


@pytest.mark.parametrize('operation', ['linear', 'input_grad', 'weight_grad'])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16], ids=str)
def test_a_probe_leaves_no_trace(operation, dtype):
    """Random numbers go on where they were, no gradient is recorded, and no memory is held."""
    before = torch.random.get_rng_state()
    method = matmul.probe.__wrapped__(operation, 24, 16, dtype, 1, 64)
    assert method in matmul.METHODS[operation]
    assert torch.equal(before, torch.random.get_rng_state()) and torch.is_grad_enabled()


def test_a_probe_is_of_the_cpu_whatever_the_default_device_is(monkeypatch):
    devices = set()

    def fastest(ways):
        devices.update(one.device.type for way in ways.values() for one in way.args)
        return 'matmul'

    monkeypatch.setattr(matmul, 'fastest', fastest)
    with torch.device('meta'):
        for operation in ('linear', 'weight_grad'):
            matmul.probe.__wrapped__(operation, 6, 8, torch.float32, 1, 64)
    assert devices == {'cpu'}


def test_deterministic_algorithms_switch_it_off(deterministic, no_probe):
    x, weight = torch.randn(9, 8), torch.randn(6, 8)
    first = matmul.linear(x, weight), matmul.weight_grad(x, x)
    torch.testing.assert_close(first, (x @ weight.t(), x.t() @ x))


def test_float64_and_builds_without_onednn_use_the_blas(no_probe, monkeypatch):
    x = torch.randn(9, 8).double()
    assert torch.equal(matmul.linear(x, x), x @ x.t())
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: False)
    assert matmul.choose_method('linear', x.float(), (9, 8)) == 'matmul'


@pytest.mark.parametrize(
    ('seconds', 'name'),
    [
        ((0.02, 0.005, 0.009), 'b'),
        ((0.005, 0.02, 0.02), 'a'),
        ((0.02, 0.0195, 0.03), 'a'),
        ((0.03, 0.02, 0.01), 'c'),
    ],
)
def test_fastest_keeps_the_first_unless_another_is_clearly_faster(seconds, name, monkeypatch):
    """By a clock that the calls themselves move."""
    clock = [0.0]
    monkeypatch.setattr(time, 'perf_counter', lambda: clock[0])

    def way(duration):
        def run():
            clock[0] += duration

        return run

    assert probe.fastest(dict(zip('abc', map(way, seconds), strict=True))) == name


def test_fastest_takes_the_better_of_two_calls_after_a_first(monkeypatch):
    clock, durations = [0.0], iter([0.9, 0.8, 0.01, 0.02, 0.02, 0.02])
    monkeypatch.setattr(time, 'perf_counter', lambda: clock[0])

    def run():
        clock[0] += next(durations)

    assert probe.fastest(dict(first=run, second=run)) == 'first' and next(durations, None) is None
