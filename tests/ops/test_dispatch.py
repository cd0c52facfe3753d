"""Which implementation runs, why not the other, and what it costs not to ask."""

import subprocess
import sys
import threading
from importlib import util

import pytest
import torch

from convnext_dense.ops import dispatch, functional

UNMEASURED = "not yet measured on a GPU: force with implementation='triton'"


def _cuda(shape, dtype=torch.bfloat16, capability=(9, 0), monkeypatch=None):
    """A tensor that says it is on a GPU, for rules that look at it and touch nothing."""

    class OnGpu(torch.Tensor):
        is_cuda = True
        device = torch.device('cuda', 0)

    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: capability)
    return torch.empty(shape, dtype=dtype, device='meta').as_subclass(OnGpu)


@pytest.fixture
def on_gpu(monkeypatch):
    return lambda *args, **kwargs: _cuda(*args, **kwargs, monkeypatch=monkeypatch)


def test_nothing_runs_on_triton_that_was_not_measured(on_gpu):
    assert dispatch.MEASURED == {}
    for operation in ('layer_norm', 'gelu_backward', 'global_response_norm'):
        assert dispatch.why_not(operation, on_gpu((1, 2, 3, 4))) == [UNMEASURED]
        assert dispatch.choose(operation, on_gpu((1, 2, 3, 4))) == 'torch'


def test_a_measured_operation_runs_on_triton_where_it_can(on_gpu, monkeypatch):
    monkeypatch.setitem(dispatch.MEASURED, 'layer_norm', 'a GPU')
    assert dispatch.why_not('layer_norm', on_gpu((1, 2, 3, 4))) == []
    assert dispatch.choose('layer_norm', on_gpu((1, 2, 3, 4))) == 'triton'
    assert dispatch.choose('layer_norm', torch.empty(1, 2, 3, 4)) == 'torch'
    assert dispatch.choose('layer_norm', on_gpu((1, 2, 3, 4), torch.float64)) == 'torch'


def test_forced_on_a_gpu_runs_unmeasured(on_gpu):
    assert dispatch.choose('layer_norm', on_gpu((1, 2, 3, 4)), implementation='triton') == 'triton'


@pytest.mark.parametrize(
    'operation, shapes, options, reason',
    [
        (
            'layer_norm',
            [(2, 3)],
            dict(dtype=torch.float64),
            'float32 are supported, got torch.float64',
        ),
        ('layer_norm', [(2, 9000)], {}, 'at most 8192 channels fit a tile, got 9000'),
        ('mlp_backward', [(1, 2, 2, 384)], {}, 'at most 256 channels fit a tile, got 384'),
        (
            'depthwise_conv',
            [(1, 8, 8, 4), (4, 1, 5, 5)],
            {},
            r'tensor 1 needs shape \(4, 1, 7, 7\), got \(4, 1, 5, 5\)',
        ),
        (
            'depthwise_conv',
            [(8, 8, 4), (4, 1, 7, 7)],
            {},
            r'\(N, H, W, C\) is needed, got \(8, 8, 4\)',
        ),
        (
            'layer_norm_backward',
            [(2, 3), (2, 3), (2,), (3,)],
            {},
            r'tensor 3 needs shape \(2,\), got \(3,\)',
        ),
        (
            'normalize_backward',
            [(2, 3), (2, 3), (3,)],
            {},
            r'tensor 2 needs shape \(2,\), got \(3,\)',
        ),
        ('normalize_backward', [(2, 9000)], {}, 'at most 8192 channels fit a tile, got 9000'),
        (
            'depthwise_normalize',
            [(1, 8, 8, 4), (4, 1, 7, 7), (8,)],
            {},
            r'tensor 2 needs shape \(4,\), got \(8,\)',
        ),
        (
            'linear_residual',
            [(2, 3), (4, 3), (4,), (4,), (2,), (2, 3)],
            {},
            r'tensor 5 needs shape \(2, 4\), got \(2, 3\)',
        ),
        (
            'mlp_backward',
            [(2, 3), (4, 3), (4,), (2, 3), (4, 3)],
            {},
            r'tensor 4 needs shape \(3, 4\), got \(4, 3\)',
        ),
        ('layer_norm', [(2, 3)], dict(capability=(7, 5)), '8.0 or newer is needed, cuda:0 has 7.5'),
        ('gelu_backward', [(2**16, 2**8, 2**7, 4)], {}, 'than 32 bits count'),
        ('depthwise_conv', [(1, 1, 2**20, 2**8), (2**8, 1, 7, 7)], {}, 'than 32 bits count'),
    ],
)
def test_reasons(on_gpu, operation, shapes, options, reason):
    tensors = [on_gpu(shape, **options) for shape in shapes]
    assert len(dispatch.cannot(operation, *tensors)) == 1
    with pytest.raises(
        ValueError, match=f"implementation='triton' cannot run {operation}: .*{reason}"
    ):
        dispatch.choose(operation, *tensors, implementation='triton')


def test_many_elements_are_no_reason(on_gpu):
    assert dispatch.cannot('layer_norm', on_gpu((64, 1024, 1024, 96))) == []  # 6 * 2^30 elements


def test_a_product_needs_one_dtype(on_gpu):
    x, weight, bias = on_gpu((2, 3)), on_gpu((4, 3), torch.float32), on_gpu(4, torch.float32)
    assert (
        'one dtype, got torch.bfloat16 and torch.float32'
        in dispatch.cannot('linear_gelu', x, weight, bias)[0]
    )
    assert dispatch.cannot('linear_gelu', x, on_gpu((4, 3)), bias) == []


def test_no_tensor():
    with pytest.raises(ValueError, match='name the tensors that layer_norm is to run on'):
        dispatch.why_not('layer_norm')


def test_every_reason_is_told():
    """A CPU, fp64 and too many channels: all three, and that it is not measured."""
    assert len(dispatch.why_not('layer_norm', torch.empty(1, 9000, dtype=torch.float64))) == 4


def test_a_forced_cpu_says_what_to_do():
    with pytest.raises(ValueError, match="got one on cpu. Write implementation='auto'"):
        functional.layer_norm(
            torch.ones(1, 2), torch.ones(2), torch.ones(2), implementation='triton'
        )


def test_without_triton(monkeypatch):
    monkeypatch.setattr(dispatch, '_HAS_TRITON', False)
    assert (
        dispatch.why_not('layer_norm', torch.ones(1, 2))[0]
        == 'triton is not installed: pip install triton'
    )


def test_force_holds_for_its_block_and_every_thread():
    x = torch.ones(1, 2)
    with dispatch.force('triton', 'layer_norm'):
        with pytest.raises(ValueError, match='cannot run layer_norm'):
            dispatch.choose('layer_norm', x)
        assert dispatch.choose('gelu_backward', x) == 'torch'
        seen = []
        thread = threading.Thread(target=lambda: seen.append(dispatch._wished['layer_norm']))
        thread.start()
        thread.join()
        assert seen == ['triton']
        with dispatch.forbid():
            assert dispatch.choose('layer_norm', x) == 'torch'
        with pytest.raises(ValueError):
            dispatch.choose('layer_norm', x)
    assert dispatch.choose('layer_norm', x) == 'torch' and not dispatch._wished


def test_an_argument_goes_before_the_block(on_gpu):
    with dispatch.forbid():
        assert dispatch.choose('layer_norm', on_gpu((1, 2)), implementation='triton') == 'triton'


@pytest.mark.parametrize(
    'call',
    [
        lambda: dispatch.force('cuda').__enter__(),
        lambda: dispatch.force('triton', 'layernorm').__enter__(),
        lambda: dispatch.why_not('layernorm'),
        lambda: dispatch.choose('layer_norm', torch.ones(1, 2), implementation='cuda'),
    ],
)
def test_unknown_names(call):
    with pytest.raises(
        ValueError, match='one of auto, triton, cpu, torch, got .cuda|called .layernorm.; there are'
    ):
        call()


def test_torch_is_used_as_it_is():
    """By default the reference itself runs: nothing that torch.compile could not see through, no custom operation."""
    x = torch.randn(2, 3, 4, 5)
    with torch.profiler.profile(acc_events=True) as profile:
        functional.global_response_norm(x, torch.ones(5), torch.zeros(5))
    assert not [one.key for one in profile.key_averages() if 'convnext_dense' in one.key]


@pytest.mark.skipif(
    util.find_spec('triton') is None, reason='triton comes with torch on Linux only'
)
def test_nothing_is_imported_before_it_is_needed():
    """Neither triton nor the declarations: not by the package, not by a call that runs with torch."""
    code = (
        'import sys, torch\nbefore = "triton" in sys.modules\nfrom convnext_dense.ops import functional\n'
        'functional.layer_norm(torch.ones(1, 2), torch.ones(2), torch.ones(2))\n'
        'assert before or "triton" not in sys.modules\nassert "convnext_dense.ops.registered" not in sys.modules'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
