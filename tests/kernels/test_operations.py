"""Every kernel against ``TorchOps`` in fp64: as exact as ``TorchOps`` in the kernel's own dtype.

A program takes the interpreter about 2 ms, so that the maps are small.
"""

import pytest
import torch

from convnext_dense.kernels import (
    TritonOps,
    depthwise_weight_grad,
    global_response_norm,
    layer_norm,
    triton_ops,
)
from convnext_dense.kernels.random_arguments import OPERATIONS, RandomArguments, run
from convnext_dense.ops import TorchOps

# Triton's interpreter uses numpy in a way that numpy 1.25 deprecates.
pytestmark = pytest.mark.filterwarnings('ignore:Conversion of an array with ndim > 0')

KERNELS = TritonOps()
TORCH = TorchOps()
# Triton's interpreter cannot multiply bf16.
DTYPES = [torch.float32, torch.float16]
if torch.cuda.is_available():
    DTYPES.append(torch.bfloat16)


def make_arguments(operation, device, dtype, images=2, height=3, width=5, channels=24):
    arguments = RandomArguments((images, height, width), channels, dtype, device)
    return getattr(arguments, operation)()


def check(operation, arguments):
    """Same shapes and dtypes as torch, and at most twice its error in fp64.

    Half a unit in the last place is allowed beyond that: torch may be exact on a small map.
    """
    doubles = [None if argument is None else argument.double() for argument in arguments]
    outputs = run(KERNELS, operation, arguments)
    expected = run(TORCH, operation, arguments)
    exact = run(TORCH, operation, doubles)
    norm = torch.linalg.vector_norm
    for ours, theirs, true in zip(outputs, expected, exact, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        assert ours.is_contiguous()
        rounding = torch.finfo(ours.dtype).eps / 2 * norm(true)
        assert norm(ours - true) <= 2 * norm(theirs - true) + rounding


@pytest.fixture
def small_grids(monkeypatch):
    """Few programs, each of which takes several tiles."""
    monkeypatch.setattr(depthwise_weight_grad, 'PROGRAMS', 8)
    monkeypatch.setattr(depthwise_weight_grad, 'STRIP', 26)
    monkeypatch.setattr(layer_norm, 'BACKWARD_PROGRAMS', 4)
    monkeypatch.setattr(global_response_norm, 'PROGRAMS', 8)


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('operation', OPERATIONS)
def test_kernel_is_as_exact_as_torch(operation, device, dtype):
    check(operation, make_arguments(operation, device, dtype))


@pytest.mark.parametrize(
    ('operation', 'sizes'),
    [
        ('depthwise_conv', dict(images=1, height=6, width=33, channels=8)),
        ('depthwise_input_grad', dict(images=1, height=3, width=3, channels=72)),
        ('depthwise_weight_grad', dict(images=1, height=37, width=3, channels=8)),
        ('depthwise_weight_grad', dict(images=2, height=8, width=3, channels=40)),
        ('layer_norm', dict(height=7, width=7, channels=130)),
        ('layer_norm_backward', dict(height=7, width=7, channels=130)),
        ('linear_gelu', dict(height=7, width=10, channels=70)),
        ('linear_residual', dict(height=7, width=10, channels=70)),
        ('global_response_norm', dict(height=9, width=9, channels=70)),
        ('global_response_norm_backward', dict(height=9, width=9, channels=70)),
    ],
    ids=str,
)
def test_several_tiles_in_each_direction(operation, sizes, device, small_grids):
    check(operation, make_arguments(operation, device, torch.float32, **sizes))


def test_optional_tensors_can_be_left_out(device):
    grad, weight, _ = make_arguments('depthwise_input_grad', device, torch.float16)
    check('depthwise_input_grad', (grad, weight, None))
    x, weight, bias, _, _, residual = make_arguments('linear_residual', device, torch.float16)
    check('linear_residual', (x, weight, bias, None, None, residual.float()))


def test_hidden_values_are_returned_on_request(device):
    arguments = make_arguments('linear_gelu', device, torch.float32)
    kept, _ = KERNELS.linear_gelu(*arguments)
    y, hidden = KERNELS.linear_gelu(*arguments, keep=False)
    assert torch.equal(kept, y)
    assert hidden is None


@pytest.mark.parametrize('operation', OPERATIONS)
def test_empty_batch(operation, device):
    arguments = make_arguments(operation, device, torch.float32, images=0)
    outputs = run(KERNELS, operation, arguments)
    expected = run(TORCH, operation, arguments)
    for ours, theirs in zip(outputs, expected, strict=True):
        assert ours.shape == theirs.shape
        assert not ours.count_nonzero()


@pytest.mark.parametrize('operation', OPERATIONS)
def test_any_strides(operation, device):
    """Maps in channels-first memory, and strided parameters."""
    arguments = make_arguments(operation, device, torch.float32, images=1, height=2, channels=8)
    strided = []
    for argument in arguments:
        if argument.dim() > 1:
            strided.append(argument.mT.contiguous().mT)
        else:
            strided.append(argument.repeat_interleave(2)[::2])
    outputs = run(KERNELS, operation, strided)
    for ours, theirs in zip(outputs, run(KERNELS, operation, arguments), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.is_contiguous()


@pytest.mark.parametrize(
    'operation',
    ['depthwise_weight_grad', 'layer_norm_backward', 'global_response_norm_backward'],
)
def test_sums_have_the_same_bits_in_every_run(operation, device):
    arguments = make_arguments(operation, device, torch.float16, images=1, height=7, channels=8)
    first = run(KERNELS, operation, arguments)
    for ours, again in zip(first, run(KERNELS, operation, arguments), strict=True):
        assert torch.equal(ours, again)


def test_layer_norm_of_values_far_from_zero(device):
    """A variance from the sum of squares would be lost: 1000^2 and 1 are 10^6 apart."""
    x, weight, bias = make_arguments('layer_norm', device, torch.float32, images=1, channels=40)
    check('layer_norm', (x + 1000, weight, bias))


def test_response_norm_beyond_fp16(device):
    """The norm of the map is above 65504, as is the square of 300."""
    x = torch.full((1, 16, 17, 8), 300.0, dtype=torch.float16, device=device)
    x[..., 4:] = 0
    gamma = torch.ones(8, device=device)
    y = KERNELS.global_response_norm(x, gamma, torch.zeros(8, device=device))
    assert torch.equal(y, 3 * x)  # N = G / mean(G) = 2, so that y = 2 x + x
    dx, dgamma, dbeta = KERNELS.global_response_norm_backward(torch.ones_like(x), x, gamma)
    assert dx.isfinite().all()
    assert dgamma[0] == 2 * 300 * 16 * 17
    assert (dbeta == 16 * 17).all()


def test_what_no_kernel_takes_falls_back_to_torch(device):
    arguments = make_arguments('layer_norm', device, torch.float64)
    assert triton_ops.find_reasons(*arguments) == [
        'the kernels take float16, bfloat16 and float32, got torch.float64'
    ]
    for ours, theirs in zip(
        run(KERNELS, 'layer_norm', arguments), run(TORCH, 'layer_norm', arguments), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_reasons_against_a_kernel(device, monkeypatch):
    wide = torch.empty(1, 1, 1, 9000, device=device)
    assert triton_ops.find_reasons(wide) == []
    assert triton_ops.find_reasons(wide, most_channels=8192) == [
        'at most 8192 channels fit a program, got 9000'
    ]
    assert triton_ops.find_reasons(wide, wide.half(), one_dtype=True) == [
        'the factors must share a dtype, got torch.float32 and torch.float16'
    ]
    large = torch.empty(2**31, 1, 1, 1, device='meta').expand(2**31, 1, 1, 8)
    monkeypatch.setattr(triton_ops, 'INTERPRETED', False)
    assert triton_ops.find_reasons(large) == [
        'the kernels need a CUDA device, got meta',
        'a map of shape (2147483648, 1, 1, 8) is too large for 32-bit offsets',
    ]
