"""Deformable convolution v1 and v2 (modulated) of mmcv's extension, by torchvision's kernels.

::

    output[n, o, y, x] = bias[o] + sum over c, i, j of weight[o, c, i, j] * mask[n, g, i, j, y, x]
                         * input[n, c](y * stride - padding + i * dilation + offset_y,
                                       x * stride - padding + j * dilation + offset_x)

with bilinear samples of the input, 0 off the map, and offset = offset[n, g, i, j, :, y, x]; g is
the deformable group of channel c. In v1, mask is 1 and bias 0.

mmcv passes the tensors for the results, and the names and order of all arguments are mmcv's.
``columns`` and ``ones`` are scratch space of the C++ code and stay untouched. ``im2col_step`` is
the number of images that the C++ code unfolds at a time; it changes no result, but the batch must
be a multiple of it.

Source: Dai et al., "Deformable Convolutional Networks", section 2.1; Zhu et al., "Deformable
ConvNets v2", section 3.2; open-mmlab/mmcv mmcv/ops/csrc/pytorch/deform_conv.cpp
@ 6fdebde02f1b77add8cc9a65fb477ebda7f7a415
"""

# The argument names are mmcv's, which passes them by keyword; each is documented once.
# ruff: noqa: N803, N806, D417

from __future__ import annotations

from typing import NamedTuple

import torch
import torchvision  # noqa: F401  (registers torch.ops.torchvision)
from torch import Tensor

from convnext_dense.mmcv_ops.precision import upcast


class Geometry(NamedTuple):
    """Geometry of a convolution, in pairs (h, w).

    Attributes:
        stride: step of the output.
        padding: zeros around the input.
        dilation: step of the kernel.
        groups: groups of the weight.
        deform_groups: groups of input channels, each with an offset and a mask.
    """

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    deform_groups: int

    def arguments(self) -> tuple[int, ...]:
        """The geometry in the order of torchvision's arguments."""
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
    """Compute the convolution (v1).

    Args:
        input: (N, C, H, W).
        weight: (O, C / ``group``, kH, kW).
        offset: (N, ``deformable_group`` * kH * kW * 2, H', W'), y then x, in pixels.
        output: (N, O, H', W'), written in place.
        columns: unused.
        ones: unused.
        kW: width of the kernel.
        kH: height of the kernel.
        dW: stride along x.
        dH: stride along y.
        padW: padding along x.
        padH: padding along y.
        dilationW: dilation along x.
        dilationH: dilation along y.
        group: groups of the weight.
        deformable_group: groups of channels that share an offset.
        im2col_step: changes no result.
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
    """Compute the gradients w.r.t. input and offset (v1).

    Arguments not listed are those of :func:`deform_conv_forward`.

    Args:
        gradOutput: (N, O, H', W').
        gradInput: gradient w.r.t. ``input``, added to in place.
        gradOffset: gradient w.r.t. ``offset``, overwritten.
    """
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
    """Compute the gradient w.r.t. the weight (v1).

    Arguments not listed are those of :func:`deform_conv_forward`.

    Args:
        gradOutput: (N, O, H', W').
        gradWeight: ``scale`` times the gradient w.r.t. ``weight`` is added to it in place.
        scale: see above.
    """
    geometry = Geometry((dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group)
    _check(input, gradWeight, (kH, kW), im2col_step)
    # The gradient w.r.t. the weight does not depend on the weight, only on its shape.
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
    """Compute the convolution with a mask (v2).

    Arguments not listed are those of :func:`deform_conv_forward`.

    Args:
        bias: (O,), unused unless ``with_bias``.
        mask: (N, ``deformable_group`` * kernel_h * kernel_w, H', W').
        with_bias: whether to add ``bias``.
    """
    geometry = Geometry(
        (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w), group, deformable_group
    )
    _check(input, weight, (kernel_h, kernel_w))
    if with_bias:
        output.copy_(_convolve(input, weight, offset, mask, bias, geometry))
    else:
        output.copy_(_convolve(input, weight, offset, mask, None, geometry))


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
    """Compute the gradients w.r.t. all inputs (v2).

    Arguments not listed are those of :func:`modulated_deform_conv_forward`.

    Args:
        grad_input: gradient w.r.t. ``input``, added to in place.
        grad_weight: gradient w.r.t. ``weight``, added to in place.
        grad_bias: gradient w.r.t. ``bias``, added to in place if ``with_bias``.
        grad_offset: gradient w.r.t. ``offset``, overwritten.
        grad_mask: gradient w.r.t. ``mask``, overwritten.
        grad_output: (N, O, H', W').
    """
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
    """Gradients w.r.t. all inputs, in torchvision's order."""

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
            f'deform_conv: the batch of {len(input)} must be a multiple of '
            f'im2col_step={im2col_step}'
        )


def _convolve(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: Geometry,
) -> Tensor:
    filled_mask, filled_bias = _fill(input, weight, mask, bias)
    tensors = upcast(input, weight, offset, filled_mask, filled_bias)
    has_mask = mask is not None
    return torch.ops.torchvision.deform_conv2d(*tensors, *geometry.arguments(), has_mask)


def _gradients(
    grad_output: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    geometry: Geometry,
) -> _Gradients:
    filled_mask, filled_bias = _fill(input, weight, mask, None)
    tensors = upcast(grad_output, input, weight, offset, filled_mask, filled_bias)
    has_mask = mask is not None
    grads = _Gradients(
        *torch.ops.torchvision._deform_conv2d_backward(*tensors, *geometry.arguments(), has_mask)
    )
    is_on_edge = _is_on_edge(tensors[3], weight.shape[2:], geometry)
    return grads._replace(offset=grads.offset.masked_fill(is_on_edge, 0))


def _fill(
    input: Tensor, weight: Tensor, mask: Tensor | None, bias: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Mask and bias, both of which torchvision requires; an unused mask may have any size."""
    if mask is None:
        mask = input.new_zeros(len(input), 1)
    if bias is None:
        bias = input.new_zeros(len(weight))
    return mask, bias


def _is_on_edge(offset: Tensor, kernel: torch.Size, geometry: Geometry) -> Tensor:
    """Where a sample lies exactly at y or x = -1, as all samples of the padding do at offset 0.

    The sampled value has a kink there. mmcv gives the slope 0 of the outside, torchvision the slope
    of the inside.

    Args:
        offset: (N, G * kH * kW * 2, H', W').
        kernel: (kH, kW).
        geometry: of the convolution.

    Returns:
        bool, of ``offset``'s shape.
    """
    height, width = offset.shape[2:]
    points = offset.unflatten(1, (geometry.deform_groups, *kernel, 2))  # (N, G, kH, kW, 2, H', W')
    grid_y = _grid(kernel[0], height, geometry, axis=0, device=offset.device)  # (kH, H')
    grid_x = _grid(kernel[1], width, geometry, axis=1, device=offset.device)  # (kW, W')
    y = points[..., 0, :, :] + grid_y[:, None, :, None]  # (N, G, kH, kW, H', W')
    x = points[..., 1, :, :] + grid_x[None, :, None, :]
    is_on_edge = (y == -1) | (x == -1)
    return is_on_edge.unsqueeze(4).expand(points.shape).reshape(offset.shape)


def _grid(
    kernel_size: int, size: int, geometry: Geometry, axis: int, device: torch.device
) -> Tensor:
    """Coordinates (kernel size, size) of the samples along an axis before any offset."""
    kernel_steps = torch.arange(kernel_size, device=device) * geometry.dilation[axis]
    output_steps = torch.arange(size, device=device) * geometry.stride[axis]
    return kernel_steps[:, None] + output_steps - geometry.padding[axis]
