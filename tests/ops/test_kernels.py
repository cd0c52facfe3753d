"""Kernels run in Triton's interpreter, against references in fp64; plain torch in the same dtype sets the bound."""

import pytest
import torch

from convnext_dense.ops import reference

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def _made(operation, dtype, *, images=2, height=3, width=5, channels=24):
    """Arguments of an operation: activations and factors of products in ``dtype``, other parameters in fp32."""

    def map_of(depth):
        return torch.randn(images, height, width, depth).to(dtype)

    def vector(depth=channels):
        return torch.randn(depth)

    x, grad, filters, hidden = (
        map_of(channels),
        map_of(channels),
        torch.randn(channels, 1, 7, 7) / 7,
        3 * channels,
    )
    widen, narrow = (
        (torch.randn(shape) * shape[1] ** -0.5).to(dtype)
        for shape in [(hidden, channels), (channels, hidden)]
    )
    scale = torch.linspace(0, 1.25, images)
    n, mean, rstd = reference.layer_norm(x, torch.ones(channels), torch.zeros(channels))
    return {
        'depthwise_conv': (x, filters, vector()),
        'depthwise_input_grad': (grad, filters, x),
        'depthwise_weight_grad': (grad, x),
        'depthwise_normalize': (x, filters, vector()),
        'normalize_backward': (grad, n, rstd),
        'layer_norm': (x, vector(), vector()),
        'layer_norm_backward': (grad, x, mean, rstd, vector()),
        'linear_gelu': (x, widen, vector(hidden)),
        'linear_residual': (map_of(hidden), narrow, vector(), vector(), scale, x),
        'gelu_backward': (map_of(hidden), map_of(hidden), scale),
        'mlp_backward': (x, widen, vector(hidden), grad, narrow, scale),
        'global_response_norm': (x, vector(), vector()),
        'global_response_norm_backward': (grad, x, vector()),
    }[operation]


OPERATIONS = (
    'depthwise_conv',
    'depthwise_input_grad',
    'depthwise_weight_grad',
    'depthwise_normalize',
    'normalize_backward',
    'layer_norm',
    'layer_norm_backward',
    'linear_gelu',
    'linear_residual',
    'gelu_backward',
    'mlp_backward',
    'global_response_norm',
    'global_response_norm_backward',
)


def _tuple(outputs):
    return (outputs,) if isinstance(outputs, torch.Tensor) else tuple(outputs)


def _compare(outputs, operation, args, **kwargs):
    """Error against fp64 at most twice that of the reference in the tensors' own dtype, and same shapes and dtypes.

    The floor is for the few results of a small test that plain torch happens to hit: half a unit of the last place.
    """
    function = getattr(reference, operation)
    plain = _tuple(function(*args, **kwargs))
    exact = _tuple(
        function(
            *[one.double() if isinstance(one, torch.Tensor) else one for one in args], **kwargs
        )
    )
    for number, (ours, theirs, true) in enumerate(zip(_tuple(outputs), plain, exact, strict=True)):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype), number
        assert ours.is_contiguous() and ours.isfinite().all(), number
        if true.numel():
            error, allowed = (ours - true).abs().max(), (theirs - true).abs().max()
            assert error <= 2 * allowed + torch.finfo(ours.dtype).eps / 2 * true.abs().max(), number


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('operation', OPERATIONS)
def test_kernel_is_as_exact_as_torch(interpreter, operation, dtype):
    """Odd sizes, channels that are no power of two."""
    args = _made(operation, dtype)
    _compare(interpreter(operation, *args), operation, args)


@pytest.mark.parametrize(
    'operation, sizes',
    [
        # More than one tile in each direction, and a part of one at each end.
        ('depthwise_conv', dict(images=1, height=6, width=33, channels=8)),
        ('depthwise_input_grad', dict(images=1, height=3, width=3, channels=72)),
        ('depthwise_normalize', dict(images=1, height=5, width=3, channels=40)),
        ('depthwise_weight_grad', dict(images=1, height=37, width=3, channels=8)),
        ('depthwise_weight_grad', dict(images=2, height=8, width=5, channels=40)),
        ('normalize_backward', dict(height=7, width=7, channels=130)),
        (
            'normalize_backward',
            dict(images=1, height=1, width=3, channels=2100),
        ),  # a row is more than a tile
        ('layer_norm', dict(height=7, width=7, channels=130)),
        ('layer_norm_backward', dict(height=7, width=7, channels=130)),
        ('linear_gelu', dict(height=7, width=10, channels=70)),
        ('linear_residual', dict(height=7, width=10, channels=70)),
        ('mlp_backward', dict(height=7, width=10, channels=70)),
        ('gelu_backward', dict(height=7, width=11, channels=10)),
        ('global_response_norm', dict(height=9, width=9, channels=70)),
        ('global_response_norm_backward', dict(height=9, width=9, channels=70)),
    ],
    ids=str,
)
def test_several_tiles(interpreter, operation, sizes):
    args = _made(operation, torch.float32, **sizes)
    few = {
        ('depthwise_weight_grad', 'PROGRAMS'): 8,
        ('depthwise_weight_grad', 'STRIP'): 26,
        ('layer_norm', 'BACKWARD_PROGRAMS'): 4,
        ('global_response_norm', 'PROGRAMS'): 8,
    }
    _compare(interpreter(operation, *args, constants=few), operation, args)


@pytest.mark.parametrize(
    'operation', ['linear_residual', 'gelu_backward', 'mlp_backward', 'depthwise_input_grad']
)
def test_without_the_optional_tensors(interpreter, operation):
    args = list(_made(operation, torch.bfloat16))
    if operation == 'linear_residual':
        args[3:5] = None, None
        args[5] = args[5].float()  # a residual stream in fp32
    else:
        args[-1] = None
    _compare(interpreter(operation, *args), operation, args)


def test_nothing_kept(interpreter):
    args = _made('linear_gelu', torch.float32)
    kept, (bare, nothing) = (
        interpreter('linear_gelu', *args),
        interpreter('linear_gelu', *args, keep=False),
    )
    assert torch.equal(kept[0], bare) and not nothing.numel()


@pytest.mark.parametrize('operation', OPERATIONS)
def test_empty_batch(interpreter, operation):
    args = _made(operation, torch.float32, images=0)
    outputs = _tuple(interpreter(operation, *args))
    for ours, theirs in zip(outputs, _tuple(getattr(reference, operation)(*args)), strict=True):
        assert ours.shape == theirs.shape and not ours.count_nonzero()


@pytest.mark.parametrize('operation', OPERATIONS)
def test_any_strides(interpreter, operation):
    """Channels-first memory, as a map comes out of a plain convolution; and every parameter strided."""
    args = _made(operation, torch.float32, images=1, height=2, width=3, channels=8)
    strided = [
        one
        if not isinstance(one, torch.Tensor)
        else one.mT.contiguous().mT
        if one.dim() > 1
        else one.repeat_interleave(2)[::2]
        for one in args
    ]
    assert not any(
        one.is_contiguous() for one in strided if isinstance(one, torch.Tensor) and one.numel() > 1
    )
    plain = _tuple(interpreter(operation, *args))
    for ours, theirs in zip(_tuple(interpreter(operation, *strided)), plain, strict=True):
        assert torch.equal(ours, theirs) and ours.stride() == theirs.stride()


@pytest.mark.parametrize(
    'operation', ['depthwise_weight_grad', 'layer_norm_backward', 'global_response_norm_backward']
)
def test_same_bits_in_every_run(interpreter, operation):
    args = _made(operation, torch.bfloat16, images=1, height=7, width=7, channels=8)
    for one, other in zip(*(_tuple(interpreter(operation, *args)) for _ in range(2)), strict=True):
        assert torch.equal(one, other)


def test_mean_far_from_zero(interpreter):
    """A sum of squares would lose the variance: 1000^2 and 1 are 10^6 apart, as far as fp32 reaches."""
    x, weight, bias = _made('depthwise_normalize', torch.float32, images=1, channels=40)
    args = x, weight / 49, bias + 1000
    _compare(interpreter('depthwise_normalize', *args), 'depthwise_normalize', args)
    args = x + 1000, bias, bias
    _compare(interpreter('layer_norm', *args), 'layer_norm', args)


def test_norm_beyond_fp16(interpreter):
    """300^2 alone passes 65504, and so does the norm of the map."""
    x = torch.full((1, 16, 17, 8), 300.0, dtype=torch.float16)
    x[..., 4:] = 0
    out = interpreter('global_response_norm', x, torch.ones(8), torch.zeros(8))
    assert torch.equal(out, torch.where(x > 0, 900.0, 0.0).half())  # G / mean(G) = 2: x * 2 + x
    dx, dgamma, dbeta = interpreter(
        'global_response_norm_backward', torch.ones_like(x), x, torch.ones(8)
    )
    assert all(one.isfinite().all() for one in (dx, dgamma, dbeta)) and dgamma[0] == 2 * 300 * 272


@pytest.mark.parametrize(
    'operation',
    [
        'depthwise_conv',
        'depthwise_normalize',
        'layer_norm',
        'linear_gelu',
        'linear_residual',
        'global_response_norm',
    ],
)
def test_gradients(interpreter, operation):
    """By every input, through the registered backward pass, against autograd of the reference in fp64."""
    args = [
        one.requires_grad_()
        for one in _made(operation, torch.float32, images=1, height=2, width=3, channels=8)
    ]
    if operation == 'linear_residual':
        args[4] = args[4].detach().fill_(1.25)  # drop path's factors are drawn, not learnt
    wide = [one.detach().double().requires_grad_() for one in args]
    out = _tuple(getattr(reference, operation)(*wide))[0]
    out_grad = torch.randn_like(out)
    out.backward(out_grad)
    grads = interpreter.ask('grads', operation, args, out_grad.float())
    for number, (ours, one) in enumerate(zip(grads, wide, strict=True)):
        if args[number].requires_grad:
            torch.testing.assert_close(
                ours.double(),
                one.grad,
                rtol=1e-5,
                atol=1e-5,
                msg=lambda text: f'argument {number}: {text}',
            )


@pytest.mark.parametrize(
    'operation', ['layer_norm_backward', 'normalize_backward', 'linear_gelu', 'gelu_backward']
)
def test_operation_with_its_kernel_is_well_declared(interpreter, operation):
    """The others' declarations are checked with their references, in ``test_registered.py``, which is faster."""
    args = _made(operation, torch.float32, images=1, height=2, width=3, channels=8)
    assert set(interpreter.ask('opcheck', operation, args).values()) == {'SUCCESS'}


def test_compile_and_export_with_kernels(interpreter):
    x, *parameters = torch.randn(1, 2, 3, 8), torch.rand(8), torch.rand(8), torch.rand(8)
    eager, compiled, exported, names = interpreter.ask('traced', x, *parameters)
    assert torch.equal(eager, compiled) and torch.equal(eager, exported)
    assert [name for name in names if 'convnext_dense' in name] == [
        'convnext_dense.layer_norm.default',
        'convnext_dense.global_response_norm.default',
    ]
