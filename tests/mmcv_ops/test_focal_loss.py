"""Sigmoid and softmax focal loss: against autograd, cross entropy, and values by hand."""

import math

import mmcv._ext as ext
import pytest
import torch
import torch.nn.functional as F
from mmcv.ops import SigmoidFocalLoss, SoftmaxFocalLoss, sigmoid_focal_loss, softmax_focal_loss


def reference_sigmoid(x, target, gamma, alpha, weight):
    hot = F.one_hot(target, x.shape[1] + 1)[:, :-1]
    p = x.sigmoid()
    loss = -(
        hot * alpha * (1 - p) ** gamma * p.log()
        + (1 - hot) * (1 - alpha) * p**gamma * (1 - p).log()
    )
    return loss if weight is None else loss * weight[target][:, None]


def reference_softmax(x, target, gamma, alpha, weight):
    p = x.softmax(1)[torch.arange(len(x)), target]
    loss = -alpha * (1 - p) ** gamma * p.log()
    return loss if weight is None else loss * weight[target]


def reduce(loss, reduction):
    return dict(none=loss, sum=loss.sum(), mean=loss.sum() / len(loss))[reduction]


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('gamma, alpha', [(2.0, 0.25), (0.5, 0.6), (0.0, 0.5)])
@pytest.mark.parametrize('reduction', ['none', 'sum', 'mean'])
def test_sigmoid_equals_autograd(weighted, gamma, alpha, reduction):
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(5, dtype=torch.float64) if weighted else None
    target = torch.tensor([0, 1, 2, 3, 4, 4, 2 if weighted else 5])  # 5 is background
    output = SigmoidFocalLoss(gamma, alpha, weight, reduction)(x, target)
    expected = reduce(reference_sigmoid(x, target, gamma, alpha, weight), reduction)
    torch.testing.assert_close(output, expected)
    grad = torch.randn_like(output)
    torch.testing.assert_close(
        *(torch.autograd.grad(values, x, grad)[0] for values in (output, expected))
    )


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('gamma, alpha', [(2.0, 0.25), (0.5, 0.6), (0.0, 0.5)])
@pytest.mark.parametrize('reduction', ['sum', 'mean'])
def test_softmax_equals_autograd(weighted, gamma, alpha, reduction):
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(5, dtype=torch.float64) if weighted else None
    target = torch.tensor([0, 1, 2, 3, 4, 4, 2])
    output = SoftmaxFocalLoss(gamma, alpha, weight, reduction)(x, target)
    expected = reduce(reference_softmax(x, target, gamma, alpha, weight), reduction)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(
        *(torch.autograd.grad(values, x)[0] for values in (output, expected))
    )


@pytest.mark.parametrize('loss', [sigmoid_focal_loss, softmax_focal_loss])
def test_gradcheck(loss):
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 2, 1, 1])
    assert torch.autograd.gradcheck(lambda x: loss(x, target, 2.0, 0.25, None, 'sum'), x)


def test_by_hand():
    # p = 1/2: 0.25 * (1/2)^2 * ln 2 for the target, 0.75 * (1/2)^2 * ln 2 for the other class.
    loss = sigmoid_focal_loss(torch.zeros(1, 2), torch.tensor([1]), 2.0, 0.25, None, 'none')
    torch.testing.assert_close(loss, torch.tensor([[0.1875, 0.0625]]) * math.log(2))
    loss = softmax_focal_loss(torch.zeros(1, 2), torch.tensor([1]), 2.0, 0.25, None, 'none')
    torch.testing.assert_close(loss, torch.tensor([0.0625]) * math.log(2))


def test_without_focus_it_is_cross_entropy():
    x = torch.randn(6, 4)
    target = torch.tensor([0, 1, 2, 3, 3, 1])
    torch.testing.assert_close(softmax_focal_loss(x, target, 0.0, 1.0), F.cross_entropy(x, target))
    torch.testing.assert_close(
        sigmoid_focal_loss(x, target, 0.0, 0.5, None, 'none') * 2,
        F.binary_cross_entropy_with_logits(x, F.one_hot(target).float(), reduction='none'),
    )


def test_large_logits_saturate_as_in_mmcv():
    x = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = sigmoid_focal_loss(x, torch.tensor([1]), 2.0, 0.25, None, 'none')
    limit = -math.log(torch.finfo(torch.float32).tiny)
    torch.testing.assert_close(loss.detach(), torch.tensor([[0.75, 0.25]]) * limit)
    loss.sum().backward()
    torch.testing.assert_close(x.grad, torch.tensor([[0.75, -0.25]]))


def test_softmax_at_certainty_has_no_nan():
    for gamma in (0.0, 0.5, 2.0):
        x = torch.tensor([[300.0, 0.0]], requires_grad=True)
        softmax_focal_loss(x, torch.tensor([0]), gamma, 0.25).backward()
        assert not x.grad.any()


def test_negative_softmax_target_counts_nothing():
    x = torch.randn(2, 3, requires_grad=True)
    loss = softmax_focal_loss(x, torch.tensor([-1, 2]), 2.0, 0.25, None, 'sum')
    torch.testing.assert_close(
        loss, softmax_focal_loss(x[1:], torch.tensor([2]), 2.0, 0.25, None, 'sum')
    )
    loss.backward()
    assert not x.grad[0].any() and x.grad[1].all()


def test_no_samples_and_reduced_precision():
    assert sigmoid_focal_loss(
        torch.zeros(0, 3), torch.zeros(0).long(), 2.0, 0.25, None, 'none'
    ).shape == (0, 3)
    x = torch.randn(4, 3).half().requires_grad_()
    target = torch.tensor([0, 2, 1, 3])
    loss = sigmoid_focal_loss(x, target, 2.0, 0.25, None, 'none')
    assert torch.equal(loss, sigmoid_focal_loss(x.float(), target, 2.0, 0.25, None, 'none').half())
    loss.sum().backward()
    assert x.grad.dtype == torch.float16 and x.grad.all()


def test_bad_input():
    x = torch.zeros(2, 3)
    none = torch.empty(0)
    weight = torch.ones(3)
    with pytest.raises(RuntimeError, match='at most 3 for 3 classes, got 4'):
        ext.sigmoid_focal_loss_forward(x, torch.tensor([0, 4]), none, torch.zeros(2, 3), 2.0, 0.25)
    for background in (3, -1):
        with pytest.raises(RuntimeError, match='no entry for background'):
            ext.sigmoid_focal_loss_forward(
                x, torch.tensor([0, background]), weight, torch.zeros(2, 3), 2.0, 0.25
            )
    with pytest.raises(RuntimeError, match='at most 2 for 3 classes, got 3'):
        ext.softmax_focal_loss_forward(x, torch.tensor([0, 3]), none, torch.zeros(2), 2.0, 0.25)
    with pytest.raises(ValueError, match='one entry for each of 3 classes'):
        ext.sigmoid_focal_loss_forward(
            x, torch.tensor([0, 1]), weight[:2], torch.zeros(2, 3), 2.0, 0.25
        )
    with pytest.raises(ValueError, match=r'target \(B,\)'):
        ext.sigmoid_focal_loss_forward(x, torch.tensor([0]), none, torch.zeros(2, 3), 2.0, 0.25)
