"""Deformable convolution v1 and v2 (modulated) of mmcv's extension, on torchvision's kernels.

The results are copied into the tensors that mmcv passes for them. ``columns`` and ``ones`` are scratch space of the
C++ code and stay untouched; ``im2col_step`` is how many images it unfolds at a time, which changes no result.

Source: Dai et al., "Deformable Convolutional Networks", section 2.1; Zhu et al., "Deformable ConvNets v2", section 3.2;
open-mmlab/mmcv mmcv/ops/csrc/pytorch/deform_conv.cpp @ 6fdebde02f1b77add8cc9a65fb477ebda7f7a415
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

from convnext_dense.mmcv_ops.precision import upcast


class Geometry(NamedTuple):
    """Of the convolution: (h, w) pairs, groups of the weight, and groups of channels that share an offset."""

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    deform_groups: int

    def arguments(self) -> tuple[int, ...]:
        return (*self.stride, *self.padding, *self.dilation, self.groups, self.deform_groups)


@torch.no_grad()
def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write into ``output`` (N, O, H', W') the convolution of ``input`` sampled at the regular grid plus ``offset``.

    Args:
        input: (N, C, H, W).
        weight: (O, C / ``group``, kH, kW).
        offset: (N, ``deformable_group`` * kH * kW * 2, H', W'), y then x, in pixels.
    """
    geometry = Geometry((dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group)
    _check(input, weight, (kH, kW), im2col_step)
    output.copy_(_convolve(input, weight, offset, None, None, geometry))


@torch.no_grad()
def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Add the gradient of the input to ``gradInput``, write that of the offset into ``gradOffset``."""
    geometry = Geometry((dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group)
    _check(input, weight, (kH, kW), im2col_step)
    grads = _gradients(gradOutput, input, weight, offset, None, geometry)
    gradInput += grads.input
    gradOffset.copy_(grads.offset)


@torch.no_grad()
def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add ``scale`` times the gradient of the weight to ``gradWeight``."""
    geometry = Geometry((dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group)
    _check(input, gradWeight, (kH, kW), im2col_step)
    # the gradient of the weight does not depend on the weight, only on its shape
    grads = _gradients(gradOutput, input, torch.zeros_like(gradWeight), offset, None, geometry)
    gradWeight += scale * grads.weight


@torch.no_grad()
def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """``deform_conv_forward`` with each sample multiplied by ``mask``, plus the bias.

    Args:
        bias: (O,), read if ``with_bias``.
        mask: (N, ``deformable_group`` * kernel_h * kernel_w, H', W').
    """
    geometry = Geometry(
        (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w), group, deformable_group
    )
    _check(input, weight, (kernel_h, kernel_w))
    output.copy_(_convolve(input, weight, offset, mask, bias if with_bias else None, geometry))


@torch.no_grad()
def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Add the gradients of input, weight and bias to their tensors, write those of offset and mask into theirs."""
    geometry = Geometry(
        (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w), group, deformable_group
    )
    _check(input, weight, (kernel_h, kernel_w))
    grads = _gradients(grad_output, input, weight, offset, mask, geometry)
    grad_input += grads.input
    grad_weight += grads.weight
    grad_offset.copy_(grads.offset)
    grad_mask.copy_(grads.mask)
    if with_bias:
        grad_bias += grads.bias


class _Gradients(NamedTuple):
    """In torchvision's order."""

    input: Tensor
    weight: Tensor
    offset: Tensor
    mask: Tensor
    bias: Tensor


def _check(input: Tensor, weight: Tensor, kernel: tuple[int, int], im2col_step: int = 1) -> None:
    if input.dim() != 4:
        raise ValueError(f'deform_conv: input must be (N, C, H, W), got {tuple(input.shape)}')
    if tuple(weight.shape[2:]) != kernel:
        raise ValueError(
            f'deform_conv: the kernel is {kernel}, but weight is {tuple(weight.shape)}'
        )
    if im2col_step < 1 or len(input) % im2col_step:
        raise ValueError(
            f'deform_conv: the batch of {len(input)} must be a multiple of im2col_step={im2col_step}'
        )


def _convolve(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: Geometry,
) -> Tensor:
    tensors = upcast(input, weight, offset, *_mask_and_bias(input, weight, mask, bias))
    return torch.ops.torchvision.deform_conv2d(*tensors, *geometry.arguments(), mask is not None)


def _gradients(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    geometry: Geometry,
) -> _Gradients:
    tensors = upcast(grad_output, input, weight, offset, *_mask_and_bias(input, weight, mask, None))
    grads = _Gradients(
        *torch.ops.torchvision._deform_conv2d_backward(
            *tensors, *geometry.arguments(), mask is not None
        )
    )
    edge = _on_edge(tensors[3], weight.shape[2:], geometry)
    return grads._replace(offset=grads.offset.masked_fill(edge, 0))


def _mask_and_bias(
    input: Tensor, weight: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """torchvision wants both; a mask that is not used may have any size."""
    return (
        input.new_zeros(len(input), 1) if mask is None else mask,
        input.new_zeros(len(weight)) if bias is None else bias,
    )


def _on_edge(offset: Tensor, kernel: torch.Size, geometry: Geometry) -> Tensor:
    """Where a sample lies at y or x = -1 exactly, as every padded one does while the offsets are 0.

    The sampled value has a kink there. mmcv gives the slope 0 of the outside, torchvision that of the inside.
    """
    height, width = offset.shape[2:]
    points = offset.unflatten(1, (geometry.deform_groups, *kernel, 2))  # (N, G, kH, kW, 2, H', W')
    steps = [torch.arange(count, device=offset.device) for count in (*kernel, height, width)]
    (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w) = geometry[:3]
    y = (steps[0] * dilation_h)[:, None, None, None] + (steps[2] * stride_h - pad_h)[
        :, None
    ]  # (kH, 1, H', 1)
    x = (steps[1] * dilation_w)[:, None, None] + (steps[3] * stride_w - pad_w)  # (kW, 1, W')
    edge = (points[..., 0, :, :] + y == -1) | (
        points[..., 1, :, :] + x == -1
    )  # (N, G, kH, kW, H', W')
    return edge.unsqueeze(4).expand(points.shape).reshape(offset.shape)
