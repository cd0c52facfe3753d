"""Weights of a stem for images of other than three channels."""

from __future__ import annotations

import torch
from torch import Tensor

RULES = ('sum', 'repeat', 'mean')


def adapt_stem(weight: Tensor, in_channels: int, rule: str | None = None) -> Tensor:
    """Weight (C, k, 4, 4) for k channels -> (C, in_channels, 4, 4), in the dtype given; n = ``in_channels``.

    ::

        'sum'     w'[:, c] = sum_j w[:, j] / n       a grey image gives what it gave before
        'repeat'  w'[:, c] = w[:, c mod k] * k / n   channels in their order, again and again
        'mean'    w'[:, c] = sum_j w[:, j] / k       every channel weighs as much as before: n / k times the response

    None is timm's rule: 'sum' for one channel, 'repeat' for more. The sums are done in float32 at least.

    Raises:
        ValueError: another ``rule``, a weight that is no convolution's, or no channel.

    Source: huggingface/pytorch-image-models timm/models/_manipulate.py:adapt_input_conv @ v1.0.31.
    """
    if rule is not None and rule not in RULES:
        raise ValueError(
            'in_channels of init_cfg says how to make a stem for other channels: one of '
            f"{', '.join(RULES)}, or None for timm's rule; got {rule!r}. The number of channels is the "
            "model's in_channels."
        )
    if weight.dim() != 4 or in_channels < 1:
        raise ValueError(
            f'a stem is a convolution (C, k, h, w) for at least one channel; got shape '
            f'{tuple(weight.shape)} for {in_channels} channels'
        )
    k = weight.shape[1]
    rule = rule or ('sum' if in_channels == 1 else 'repeat')
    wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
    if rule == 'repeat':
        adapted = wide[:, torch.arange(in_channels) % k] * (k / in_channels)
    else:
        adapted = wide.sum(1, keepdim=True) / (in_channels if rule == 'sum' else k)
        adapted = adapted.expand(-1, in_channels, -1, -1)
    return adapted.to(weight.dtype)
