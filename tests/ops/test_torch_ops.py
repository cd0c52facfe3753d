"""The reference operations: by hand, by definition, and against autograd."""

import pytest
import torch
from torch.nn import functional as F

from convnext_dense.ops import TORCH_OPS as OPS


def draw(*shape):
    return torch.randn(shape, dtype=torch.float64)


def depthwise_conv_by_loop(x, weight, bias):
    """The definition, one product at a time."""
    _, height, width, _ = x.shape
    y = bias.expand(x.shape).clone()
    for row in range(height):
        for column in range(width):
            for i in range(max(0, 3 - row), min(7, height + 3 - row)):
                for j in range(max(0, 3 - column), min(7, width + 3 - column)):
                    pixel = x[:, row + i - 3, column + j - 3]
                    y[:, row, column] += pixel * weight[:, 0, i, j]
    return y


def test_depthwise_conv_by_definition():
    x, weight, bias = draw(2, 4, 5, 3), draw(3, 1, 7, 7), draw(3)
    y = OPS.depthwise_conv(x, weight, bias)
    assert y.is_contiguous()
    torch.testing.assert_close(y, depthwise_conv_by_loop(x, weight, bias))


def test_layer_norm_by_hand():
    x = torch.tensor([[1.0, 3.0]])
    weight = torch.tensor([2.0, 1.0])
    bias = torch.tensor([0.0, 5.0])
    y, mean, rstd = OPS.layer_norm(x, weight, bias, eps=3.0)
    assert mean.tolist() == [[2.0]]
    assert rstd.tolist() == [[0.5]]
    assert y.tolist() == [[-1.0, 5.5]]


def test_statistics_of_half_precision_maps_are_fp32():
    """They are not merely of that dtype: bf16 would have rounded them."""
    x = torch.randn(2, 3, 4, 6).bfloat16()
    _, mean, rstd = OPS.layer_norm(x, torch.ones(6), torch.zeros(6))
    variance = x.double().var(-1, correction=0, keepdim=True)
    torch.testing.assert_close(mean, x.float().mean(-1, keepdim=True))
    torch.testing.assert_close(rstd, (variance + 1e-6).rsqrt().float())


def test_linear_residual_by_hand():
    """3 + 2 * 10 * (1 * 4 + 5) = 183; the second sample's branch is dropped."""
    x = torch.ones(2, 1, 1, 1)
    weight = torch.tensor([[4.0]])
    bias = torch.tensor([5.0])
    gamma = torch.tensor([10.0])
    scale = torch.tensor([2.0, 0.0]).view(2, 1, 1, 1)
    out = OPS.linear_residual(x, weight, bias, gamma, scale, residual=3 * x)
    assert out.flatten().tolist() == [183.0, 3.0]


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_small_gamma_with_a_residual_in_half_precision(dtype):
    """1e-6 * 1000; numbers of fp16 are 6e-8 apart there."""
    x = torch.ones(1, 1, 1, 1, dtype=dtype)
    gamma = torch.tensor([1e-6])
    bias = torch.zeros(1, dtype=dtype)
    out = OPS.linear_residual(x, 1000 * x[0, 0], bias, gamma, None, residual=0 * x)
    assert out.dtype == dtype
    assert out.item() == pytest.approx(1e-3, rel=torch.finfo(dtype).eps)


def test_linear_gelu_by_hand():
    """The normal distribution function at 1 is 0.841345."""
    x, weight, bias = torch.tensor([[1.0]]), torch.tensor([[2.0]]), torch.tensor([-1.0])
    out, hidden = OPS.linear_gelu(x, weight, bias)
    assert hidden.item() == 1
    assert out.item() == pytest.approx(0.841345, abs=1e-6)
    assert OPS.linear_gelu(x, weight, bias, keep=False)[1] is None


def test_gelu_backward_by_definition():
    """With the normal distribution function P and its density p, gelu'(h) = P(h) + h * p(h)."""
    hidden, grad = draw(2, 2, 3, 4), draw(2, 2, 3, 4)
    normal = torch.distributions.Normal(0.0, 1.0)
    slope = normal.cdf(hidden) + hidden * normal.log_prob(hidden).exp()
    torch.testing.assert_close(OPS.gelu_backward(grad, hidden), grad * slope)


def test_global_response_norm_by_definition():
    x, gamma, beta = draw(2, 3, 4, 5), draw(5), draw(5)
    norm = x.square().sum((1, 2), keepdim=True).sqrt()
    response = norm / (norm.mean(-1, keepdim=True) + 0.5)
    expected = gamma * (x * response) + beta + x
    torch.testing.assert_close(OPS.global_response_norm(x, gamma, beta, 0.5), expected)


def test_a_dead_channel_has_a_finite_gradient():
    """Where the norm is 0 its derivative is not defined; it must not be NaN."""
    x = torch.randn(1, 2, 2, 3)
    x[..., 1] = 0
    for grad in OPS.global_response_norm_backward(torch.ones_like(x), x, torch.ones(3)):
        assert grad.isfinite().all()


def assert_is_autograd(out, inputs, backward):
    """``backward(grad)`` equals the gradients of ``out`` w.r.t. ``inputs``."""
    grad = torch.randn_like(out)
    expected = torch.autograd.grad(out, inputs, grad)
    torch.testing.assert_close(tuple(backward(grad)), expected)


def test_depthwise_backward_is_autograd():
    x, weight, bias = inputs = [
        draw(2, 3, 4, 5).requires_grad_(),
        draw(5, 1, 7, 7).requires_grad_(),
        draw(5).requires_grad_(),
    ]
    assert_is_autograd(
        OPS.depthwise_conv(x, weight, bias),
        inputs,
        lambda grad: (
            OPS.depthwise_input_grad(grad, weight),
            *OPS.depthwise_weight_grad(grad, x),
        ),
    )


def test_layer_norm_backward_is_autograd():
    x, weight, bias = inputs = [
        draw(2, 3, 4, 5).requires_grad_(),
        draw(5).requires_grad_(),
        draw(5).requires_grad_(),
    ]
    y = F.layer_norm(x, (5,), weight, bias, 1e-6)
    _, mean, rstd = OPS.layer_norm(x, weight, bias)
    assert_is_autograd(y, inputs, lambda grad: OPS.layer_norm_backward(grad, x, mean, rstd, weight))


def test_linear_backward_is_autograd():
    x, weight, bias = inputs = [
        draw(2, 3, 4).requires_grad_(),
        draw(7, 4).requires_grad_(),
        draw(7).requires_grad_(),
    ]
    assert_is_autograd(
        OPS.linear(x, weight, bias),
        inputs,
        lambda grad: (OPS.linear_input_grad(grad, weight), *OPS.linear_weight_grad(grad, x)),
    )


def test_global_response_norm_backward_is_autograd():
    x, gamma, beta = inputs = [
        draw(2, 3, 4, 5).requires_grad_(),
        draw(5).requires_grad_(),
        draw(5).requires_grad_(),
    ]
    assert_is_autograd(
        OPS.global_response_norm(x, gamma, beta),
        inputs,
        lambda grad: OPS.global_response_norm_backward(grad, x, gamma),
    )


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float32])
def test_the_residual_gradient_is_added(dtype):
    grad, weight = torch.randn(1, 2, 2, 3).to(dtype), torch.randn(3, 1, 7, 7)
    residual_grad = torch.randn(1, 2, 2, 3)
    before = residual_grad.clone()
    dx = OPS.depthwise_input_grad(grad, weight, residual_grad)
    assert dx.dtype == torch.float32
    assert torch.equal(residual_grad, before)
    alone = OPS.depthwise_input_grad(grad, weight)
    torch.testing.assert_close(dx, alone.float() + residual_grad)
