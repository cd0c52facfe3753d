"""Sigmoid and softmax focal loss of mmcv's extension, in plain torch. B samples, K classes.

Source: Lin et al., "Focal Loss for Dense Object Detection", section 3; open-mmlab/mmcv
mmcv/ops/csrc/common/cuda/sigmoid_focal_loss_cuda_kernel.cuh @ 491966e3dac316163000644cc020cd59a528ca9f,
mmcv/ops/csrc/common/cuda/softmax_focal_loss_cuda_kernel.cuh @ 469a21c03c58af7217d25f3a2e84d660c359612a
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
    """Write -alpha (1 - p)^gamma log p for the target class and -(1 - alpha) p^gamma log(1 - p) for all others.

    Args:
        input: (B, K) logits; p is their sigmoid.
        target: (B,) int64, the class; K or a negative number for background, which is no class's target.
        weight: (K,) weight of each target class, or empty.
        output: (B, K), written in place; no reduction.

    Raises:
        RuntimeError: a target above K, or a background target together with ``weight``, which has no entry for it.
    """
    _check(input, target, weight, last=input.shape[1])
    (x,) = upcast(input)
    p = 1 / (1 + torch.exp(-x))  # not torch.sigmoid: log(1 - p) magnifies how p was rounded
    positive = alpha * (1 - p).pow(gamma) * p.clamp(min=_TINY).log()
    negative = (1 - alpha) * p.pow(gamma) * (1 - p).clamp(min=_TINY).log()
    output.copy_(
        -torch.where(_is_target(x, target), positive, negative)
        * _target_weight(x, target, weight)[:, None]
    )


@torch.no_grad()
def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Write into ``grad_input`` (B, K) the derivative of each entry of the loss by its own logit."""
    _check(input, target, weight, last=input.shape[1])
    (x,) = upcast(input)
    p = 1 / (1 + torch.exp(-x))
    positive = alpha * (1 - p).pow(gamma) * (1 - p - gamma * p * p.clamp(min=_TINY).log())
    negative = (1 - alpha) * p.pow(gamma) * (gamma * (1 - p) * (1 - p).clamp(min=_TINY).log() - p)
    grad_input.copy_(
        -torch.where(_is_target(x, target), positive, negative)
        * _target_weight(x, target, weight)[:, None]
    )


@torch.no_grad()
def softmax_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Write -alpha (1 - p)^gamma log p, p the probability of the target class; 0 for a negative target.

    Args:
        input: (B, K) probabilities, the softmax being taken by the caller.
        target: (B,) int64.
        weight: (K,) weight of each target class, or empty.
        output: (B,), written in place; no reduction.

    Raises:
        RuntimeError: a target of K or more. mmcv's kernel lets K pass and reads the next sample's probability.
    """
    _check(input, target, weight, last=input.shape[1] - 1)
    p = _target_probability(input, target)
    loss = -alpha * (1 - p).pow(gamma) * p.clamp(min=_TINY).log()
    output.copy_(torch.where(target < 0, 0, loss * _target_weight(p, target, weight)))


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
    """Write into ``grad_input`` (B, K) the gradient by the logits, and into ``buff`` (B,) its factor for each sample.

    ``buff`` is d loss / d log p, and d log p / d logit_c = [c is the target] - p_c.
    """
    _check(input, target, weight, last=input.shape[1] - 1)
    p = _target_probability(input, target)
    # at p = 1 the second term tends to 0 for every gamma, where its formula is inf * 0 if gamma < 1
    slope = torch.where(p < 1, gamma * (1 - p).pow(gamma - 1) * p * p.clamp(min=_TINY).log(), 0)
    factor = alpha * (slope - (1 - p).pow(gamma)) * _target_weight(p, target, weight)
    buff.copy_(torch.where(target < 0, 0, factor))
    probabilities, factor = upcast(input, buff)
    grad_input.copy_(
        factor[:, None] * (_is_target(probabilities, target).to(probabilities) - probabilities)
    )


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
    low, high = int(target.min()), int(target.max())
    if high > last:
        raise RuntimeError(
            f'focal loss: targets must be at most {last} for {input.shape[1]} classes, got {high}'
        )
    if weight.numel() and (high >= len(weight) or (low < 0 and last == len(weight))):
        raise RuntimeError(
            f'focal loss: class weights have no entry for background, but targets span {low}..{high}; '
            'drop the weights or the background samples'
        )


def _is_target(x: Tensor, target: Tensor) -> Tensor:
    return target[:, None] == torch.arange(x.shape[1], device=x.device)


def _target_weight(x: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """(B,): the weight of each sample's class, 1 without weights."""
    return weight.to(x)[target.clamp(min=0)] if weight.numel() else x.new_ones(len(target))


def _target_probability(input: Tensor, target: Tensor) -> Tensor:
    """(B,): probability of the target class; of class 0 where the target is negative, for the caller to drop."""
    return upcast(input)[0].gather(1, target.clamp(min=0)[:, None])[:, 0]
