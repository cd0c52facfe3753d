"""Sigmoid and softmax focal loss of mmcv's extension, in plain torch.

B is the number of samples, K the number of classes, p a probability, w the weight of the target
class (1 without weights).

Source: Lin et al., "Focal Loss for Dense Object Detection", section 3; open-mmlab/mmcv
mmcv/ops/csrc/common/cuda/sigmoid_focal_loss_cuda_kernel.cuh
@ 491966e3dac316163000644cc020cd59a528ca9f and softmax_focal_loss_cuda_kernel.cuh
@ 469a21c03c58af7217d25f3a2e84d660c359612a
"""

from __future__ import annotations

import torch
from torch import Tensor

from convnext_dense.mmcv_ops.precision import upcast

_TINY = torch.finfo(torch.float32).tiny


@torch.no_grad()
def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Compute the loss of each class of each sample.

    ::

        loss = -w * alpha * (1 - p)^gamma * log(p)              for the target class
        loss = -w * (1 - alpha) * p^gamma * log(1 - p)          for the other classes

    Args:
        input: (B, K) logits; p is their sigmoid.
        target: (B,) int64 class; K or a negative number is background, no class's target.
        weight: (K,) weight of each target class, or empty.
        output: (B, K), written in place.
        gamma: focusing exponent.
        alpha: weight of the target class, in 0..1.

    Raises:
        RuntimeError: a target is above K, or there is a background target and a ``weight``, which
            has no entry for background.
    """
    _check(input, target, weight, last=input.shape[1])
    (x,) = upcast(input)
    p = _sigmoid(x)  # (B, K)
    positive = -alpha * (1 - p).pow(gamma) * _log(p)
    negative = -(1 - alpha) * p.pow(gamma) * _log(1 - p)
    loss = torch.where(_is_target(x, target), positive, negative)
    output.copy_(loss * _target_weight(x, target, weight)[:, None])


@torch.no_grad()
def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Compute the derivative of each entry of the loss w.r.t. its own logit.

    ::

        -w * alpha * (1 - p)^gamma * (1 - p - gamma * p * log(p))             for the target class
        -w * (1 - alpha) * p^gamma * (gamma * (1 - p) * log(1 - p) - p)       for the other classes

    Args:
        input: see :func:`sigmoid_focal_loss_forward`.
        target: likewise.
        weight: likewise.
        grad_input: (B, K), written in place.
        gamma: likewise.
        alpha: likewise.
    """
    _check(input, target, weight, last=input.shape[1])
    (x,) = upcast(input)
    p = _sigmoid(x)  # (B, K)
    positive = -alpha * (1 - p).pow(gamma) * (1 - p - gamma * p * _log(p))
    negative = -(1 - alpha) * p.pow(gamma) * (gamma * (1 - p) * _log(1 - p) - p)
    grad = torch.where(_is_target(x, target), positive, negative)
    grad_input.copy_(grad * _target_weight(x, target, weight)[:, None])


@torch.no_grad()
def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Compute the loss of each sample.

    ::

        loss = -w * alpha * (1 - p)^gamma * log(p)              p: probability of the target class

    Args:
        input: (B, K) probabilities; the caller has taken the softmax.
        target: (B,) int64 class; the loss of a negative target is 0.
        weight: (K,) weight of each target class, or empty.
        output: (B,), written in place.
        gamma: focusing exponent.
        alpha: factor on the loss.

    Raises:
        RuntimeError: a target is K or more. (mmcv's kernel accepts K and then reads the probability
            of the next sample.)
    """
    _check(input, target, weight, last=input.shape[1] - 1)
    p = _target_probability(input, target)  # (B,)
    loss = -alpha * (1 - p).pow(gamma) * _log(p) * _target_weight(p, target, weight)
    output.copy_(torch.where(target < 0, 0, loss))


@torch.no_grad()
def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Compute the gradient w.r.t. the logits, whose softmax ``input`` is.

    ::

        d loss / d log p    = w * alpha * (gamma * (1 - p)^(gamma - 1) * p * log(p) - (1 - p)^gamma)
        d log p / d logit_c = [c is the target] - p_c

    Args:
        input: see :func:`softmax_focal_loss_forward`.
        target: likewise.
        weight: likewise.
        buff: (B,), written in place with d loss / d log p.
        grad_input: (B, K), written in place with d loss / d logit.
        gamma: likewise.
        alpha: likewise.
    """
    _check(input, target, weight, last=input.shape[1] - 1)
    p = _target_probability(input, target)  # (B,)
    # At p = 1 the first term tends to 0 for every gamma, but its formula is inf * 0 if gamma < 1.
    slope = torch.where(p < 1, gamma * (1 - p).pow(gamma - 1) * p * _log(p), 0)
    factor = alpha * (slope - (1 - p).pow(gamma)) * _target_weight(p, target, weight)
    buff.copy_(torch.where(target < 0, 0, factor))
    probabilities, grad_log_p = upcast(input, buff)
    is_target = _is_target(probabilities, target).to(probabilities)  # (B, K)
    grad_input.copy_(grad_log_p[:, None] * (is_target - probabilities))


def _check(input: Tensor, target: Tensor, weight: Tensor, last: int) -> None:
    if input.dim() != 2 or target.shape != input.shape[:1]:
        raise ValueError(
            f'focal loss: input must be (B, K) and target (B,), got {tuple(input.shape)} and '
            f'{tuple(target.shape)}'
        )
    if weight.numel() and weight.shape != input.shape[1:]:
        raise ValueError(
            f'focal loss: weight must have one entry for each of {input.shape[1]} classes, got '
            f'{tuple(weight.shape)}'
        )
    if not target.numel():
        return
    low = int(target.min())
    high = int(target.max())
    if high > last:
        raise RuntimeError(
            f'focal loss: targets must be at most {last} for {input.shape[1]} classes, got {high}'
        )
    if weight.numel() and (high >= len(weight) or (low < 0 and last == len(weight))):
        raise RuntimeError(
            'focal loss: class weights have no entry for background, but targets span '
            f'{low}..{high}; drop the weights or the background samples'
        )


def _sigmoid(x: Tensor) -> Tensor:
    # mmcv's formula. torch.sigmoid rounds otherwise, and log(1 - p) magnifies the difference.
    return 1 / (1 + torch.exp(-x))


def _log(p: Tensor) -> Tensor:
    return p.clamp(min=_TINY).log()


def _is_target(x: Tensor, target: Tensor) -> Tensor:
    """(B, K) bool: which class is the target."""
    return target[:, None] == torch.arange(x.shape[1], device=x.device)


def _target_weight(x: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """(B,): the weight of each sample's target class; 1 without weights."""
    if not weight.numel():
        return x.new_ones(len(target))
    return weight.to(x)[target.clamp(min=0)]


def _target_probability(input: Tensor, target: Tensor) -> Tensor:
    """(B,): the probability of the target class, of class 0 if the target is negative."""
    (probabilities,) = upcast(input)
    return probabilities.gather(1, target.clamp(min=0)[:, None])[:, 0]
