"""The references themselves: by hand, against autograd, and with finite differences."""

import pytest
import torch

from convnext_dense.ops import reference, registered


def _loop_conv(x, weight, bias):
    """The definition, one product at a time."""
    images, height, width, channels = x.shape
    y = bias.expand(x.shape).clone()
    for line, column, i, j in torch.cartesian_prod(
        *map(torch.arange, (height, width, 7, 7))
    ).tolist():
        if 0 <= line + i - 3 < height and 0 <= column + j - 3 < width:
            y[:, line, column] += x[:, line + i - 3, column + j - 3] * weight[:, 0, i, j]
    return y


def test_depthwise_conv_by_definition():
    x, weight, bias = (
        torch.randn(2, 4, 5, 3).double(),
        torch.randn(3, 1, 7, 7).double(),
        torch.randn(3).double(),
    )
    y = reference.depthwise_conv(x, weight, bias)
    assert y.is_contiguous()
    torch.testing.assert_close(y, _loop_conv(x, weight, bias))


def test_layer_norm_by_hand():
    out, mean, rstd = reference.layer_norm(
        torch.tensor([[1.0, 3.0]]), torch.tensor([2.0, 1.0]), torch.tensor([0.0, 5.0]), 3.0
    )
    assert (mean.tolist(), rstd.tolist(), out.tolist()) == ([2.0], [0.5], [[-1.0, 5.5]])


def test_statistics_of_half_precision_are_fp32():
    """Not of that dtype alone: bf16 would have rounded them. A filter of one 1 gives back its input."""
    x, one = torch.randn(2, 3, 4, 6).bfloat16(), torch.zeros(6, 1, 7, 7)
    one[..., 3, 3] = 1
    true = _normalized(x.double())[1].float()
    _, mean, rstd = reference.layer_norm(x, torch.ones(6), torch.zeros(6))
    torch.testing.assert_close((mean, rstd), (x.float().mean(-1), true))
    torch.testing.assert_close(reference.depthwise_normalize(x, one, torch.zeros(6))[1], true)


def test_linear_residual_by_hand():
    """3 + 2 * 10 * (1 * 4 + 5) = 183; the second sample's branch is dropped."""
    x, weight, bias = torch.ones(2, 1, 1, 1), torch.tensor([[4.0]]), torch.tensor([5.0])
    out = reference.linear_residual(
        x, weight, bias, torch.tensor([10.0]), torch.tensor([2.0, 0.0]), 3 * x
    )
    assert out.flatten().tolist() == [183.0, 3.0]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_small_gamma_with_a_residual_in_half_precision(dtype):
    """1e-6 * 1000; fp16's numbers lie 6e-8 apart there."""
    x, gamma = torch.ones(1, 1, 1, 1, dtype=dtype), torch.tensor([1e-6])
    out = reference.linear_residual(x, 1000 * x[0, 0], torch.zeros(1), gamma, None, 0 * x)
    assert out.dtype == dtype and out.item() == pytest.approx(1e-3, rel=torch.finfo(dtype).eps)


def test_gelu_by_hand():
    """The normal distribution function at 1 is 0.841345."""
    out, hidden = reference.linear_gelu(
        torch.tensor([[1.0]]), torch.tensor([[2.0]]), torch.tensor([-1.0])
    )
    assert hidden.item() == 1 and out.item() == pytest.approx(0.841345, abs=1e-6)


@pytest.mark.parametrize(
    'forward, backward',
    [
        (
            lambda x, w, b, *_: reference.depthwise_conv(x, w, b),
            lambda grad, x, w, b, *_: (
                reference.depthwise_input_grad(grad, w),
                *reference.depthwise_weight_grad(grad, x),
            ),
        ),
        (
            lambda x, _, b, c: reference.layer_norm(x, b, c)[0],
            lambda grad, x, _, b, c: _layer_norm_grads(grad, x, b),
        ),
        (
            lambda x, *_: _normalized(x)[0],
            lambda grad, x, *_: (reference.normalize_backward(grad, *_normalized(x)),),
        ),
        (
            lambda x, _, b, c: reference.global_response_norm(x, b, c),
            lambda grad, x, _, b, c: reference.global_response_norm_backward(grad, x, b),
        ),
    ],
    ids=['depthwise', 'layer_norm', 'normalize', 'global_response_norm'],
)
def test_backward_is_autograd_of_forward(forward, backward):
    inputs = [
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in [(2, 3, 4, 5), (5, 1, 7, 7), 5, 5]
    ]
    out = forward(*inputs)
    grad = torch.randn_like(out)
    expected = [
        one for one in torch.autograd.grad(out, inputs, grad, allow_unused=True) if one is not None
    ]
    for ours, theirs in zip(backward(grad, *inputs), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def _layer_norm_grads(grad, x, weight):
    _, mean, rstd = reference.layer_norm(x, weight, weight)
    return reference.layer_norm_backward(grad, x, mean, rstd, weight)


def _normalized(x):
    rstd = (x.var(-1, correction=0) + 1e-6).rsqrt()
    return (x - x.mean(-1, keepdim=True)) * rstd.unsqueeze(-1), rstd


def test_depthwise_normalize_by_definition():
    x, weight, bias = (
        torch.randn(2, 4, 5, 3).double(),
        torch.randn(3, 1, 7, 7).double(),
        torch.randn(3).double(),
    )
    ours = reference.depthwise_normalize(x, weight, bias)
    torch.testing.assert_close(ours, _normalized(_loop_conv(x, weight, bias)))


@pytest.mark.parametrize(
    'scale', [None, torch.tensor([0.0, 1.25]).double()], ids=['plain', 'scaled']
)
def test_gelu_backward_by_definition(scale):
    """With the normal distribution function P and its density p, gelu(h) = h P(h) and gelu'(h) = P(h) + h p(h)."""
    hidden, grad = torch.randn(2, 2, 3, 4).double(), torch.randn(2, 2, 3, 4).double()
    kept, normal, factor = (hidden.clone(), grad.clone()), torch.distributions.Normal(0.0, 1.0), 1.0
    below, density = normal.cdf(hidden), normal.log_prob(hidden).exp()
    out, dhidden = reference.gelu_backward(hidden, grad, scale)
    if scale is not None:
        factor = scale.view(2, 1, 1, 1)
    torch.testing.assert_close(out, factor * hidden * below)
    torch.testing.assert_close(dhidden, factor * grad * (below + hidden * density))
    assert torch.equal(hidden, kept[0]) and torch.equal(grad, kept[1])


def test_global_response_norm_by_definition():
    x, gamma, beta = (
        torch.randn(2, 3, 4, 5).double(),
        torch.randn(5).double(),
        torch.randn(5).double(),
    )
    norm = x.square().sum((1, 2), keepdim=True).sqrt()
    expected = gamma * (x * (norm / (norm.mean(-1, keepdim=True) + 0.5))) + beta + x
    torch.testing.assert_close(reference.global_response_norm(x, gamma, beta, 0.5), expected)


@pytest.mark.parametrize(
    'scale', [None, torch.tensor([0.0, 1.25], dtype=torch.float64)], ids=['plain', 'scaled']
)
def test_mlp_backward_is_autograd_of_two_layers(scale):
    x, weight1, bias1, weight2 = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True)
        for shape in [(2, 3, 4), (7, 4), 7, (4, 7)]
    )
    hidden = torch.nn.functional.linear(x, weight1, bias1).requires_grad_()
    out = torch.nn.functional.linear(torch.nn.functional.gelu(hidden), weight2)
    out = out if scale is None else out * scale.view(-1, 1, 1)
    grad = torch.randn_like(out)
    dweight2, dhidden = torch.autograd.grad(out, (weight2, hidden), grad)
    activation, ours = reference.mlp_backward(x, weight1, bias1, grad, weight2, scale)
    torch.testing.assert_close(ours, dhidden)
    torch.testing.assert_close(grad.flatten(0, 1).t() @ activation.flatten(0, 1), dweight2)


def test_residual_gradient_is_added():
    grad, weight, residual = (
        torch.randn(1, 2, 2, 3).bfloat16(),
        torch.randn(3, 1, 7, 7),
        torch.randn(1, 2, 2, 3),
    )
    both = reference.depthwise_input_grad(grad, weight, residual)
    assert both.dtype == torch.float32
    torch.testing.assert_close(
        both, reference.depthwise_input_grad(grad, weight).float() + residual
    )


def test_a_dead_channel_has_a_gradient():
    """Where the norm is 0 its derivative is not defined; it must not be NaN."""
    x = torch.randn(1, 2, 2, 3)
    x[..., 1] = 0
    for grad in reference.global_response_norm_backward(torch.ones_like(x), x, torch.ones(3)):
        assert grad.isfinite().all()


def _inputs(*shapes):
    return tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)


DIFFERENTIABLE = {
    'depthwise_conv': lambda: _inputs((1, 2, 3, 2), (2, 1, 7, 7), 2),
    'layer_norm': lambda: _inputs((1, 2, 3, 4), 4, 4),
    'depthwise_normalize': lambda: _inputs((1, 2, 3, 3), (3, 1, 7, 7), 3),
    'linear_gelu': lambda: _inputs((1, 2, 3, 4), (5, 4), 5),
    'linear_residual': lambda: (
        *_inputs((2, 2, 3, 4), (5, 4), 5, 5),
        torch.tensor([0.0, 1.25]).double(),
        *_inputs((2, 2, 3, 5)),
    ),
    'global_response_norm': lambda: _inputs((2, 2, 3, 4), 4, 4),
}


def _first(operation, *args, **kwargs):
    out = registered.OPS[operation](*args, **kwargs)
    return out if isinstance(out, torch.Tensor) else out[0]


@pytest.mark.parametrize('operation', DIFFERENTIABLE)
def test_gradcheck(operation):
    """Finite differences, of the operation with its registered backward pass."""
    assert torch.autograd.gradcheck(
        lambda *args: _first(operation, *args), DIFFERENTIABLE[operation](), fast_mode=True
    )


def test_gradients_with_nothing_kept():
    inputs = DIFFERENTIABLE['linear_gelu']()
    kept, bare = (
        torch.autograd.grad(_first('linear_gelu', *inputs, keep=keep).square().sum(), inputs)
        for keep in (True, False)
    )
    for one, other in zip(kept, bare, strict=True):
        torch.testing.assert_close(one, other)


def test_frozen_parameters_get_no_gradient():
    """Also: none is computed for them; the operation that would is not called."""
    x, weight, bias = DIFFERENTIABLE['depthwise_conv']()
    with torch.profiler.profile(acc_events=True) as profile:
        _first('depthwise_conv', x, weight.detach(), bias.detach()).sum().backward()
    called = {one.key for one in profile.key_averages() if one.key.startswith('convnext_dense::')}
    assert called == {'convnext_dense::depthwise_conv', 'convnext_dense::depthwise_input_grad'}


def test_small_gamma_in_fp16():
    """gamma starts at 1e-6: times a weight it is below fp16's smallest number, and its weight's gradient without it
    is above the largest, 65504."""
    x, weight, residual = torch.rand(1, 64, 8) + 1, torch.full((8, 8), 0.01), torch.zeros(1, 64, 8)
    args = [
        one.requires_grad_()
        for one in (x.half(), weight.half(), torch.ones(8), torch.full((8,), 1e-6), residual)
    ]
    wide = [one.detach().double().requires_grad_() for one in args]
    for x, weight, bias, gamma, residual in (args, wide):
        _first('linear_residual', x, weight, bias, gamma, None, residual).backward(
            torch.full_like(residual, 1000.0)
        )
    for ours, theirs in zip(args, wide, strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, rtol=2e-3, atol=1e-7)


def test_filters_gradient_has_the_strides_of_the_filters():
    """Those of ``layers.ConvNeXtBlock``, an axis of one included."""
    weight = torch.randn(4, 1, 7, 7).as_strided((4, 1, 7, 7), (49, 1, 7, 1)).requires_grad_()
    _first('depthwise_conv', torch.randn(1, 2, 3, 4), weight, torch.ones(4)).sum().backward()
    assert weight.grad.stride() == (49, 1, 7, 1)


def test_second_gradient_is_refused():
    x, weight, bias = DIFFERENTIABLE['layer_norm']()
    (grad,) = torch.autograd.grad(
        _first('layer_norm', x, weight, bias).square().sum(), x, create_graph=True
    )
    with pytest.raises(RuntimeError, match='layer_norm_backward'):
        grad.sum().backward()
