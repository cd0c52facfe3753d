"""Which of three equivalent ways a block takes for an input, and why not another.

'full' is the block's formula, differentiated by autograd; 'saving' the autograd function of ``memory_saving``; 'packed'
the prepared weights of ``packed``, for inference on a CPU. All give the same result up to rounding.

Conditions stand once, in :func:`why_full` and :func:`why_not_packed`: generators, so that a decision stops at the
first reason and nobody pays for texts that nobody reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from convnext_dense.layers import torch_private
from convnext_dense.layers.norm import GlobalResponseNorm

if TYPE_CHECKING:
    from convnext_dense.layers.block import ConvNeXtBlock

# On a CPU, autograd is faster for maps with fewer elements (N x C x H x W) than this: the memory-saving function makes
# more and smaller calls. Without gradients it is up to twice as many.
SMALL_MAP = 2**17
# But with as many channels as this, the memory-saving function's faster products win for any map.
WIDE_MAP = 768

_PART_TYPES = {
    'dwconv': (nn.Conv2d,),
    'norm': (nn.LayerNorm,),
    'pwconv1': (nn.Linear,),
    'grn': (GlobalResponseNorm, type(None)),
    'pwconv2': (nn.Linear,),
    'drop_path': (DropPath, nn.Identity),
}
_TENSOR_TYPES = (Tensor, nn.Parameter)
_HALF_PRECISION = (torch.bfloat16, torch.float16)


def choose_path(block: ConvNeXtBlock, x: Tensor, autocast: torch.dtype | None) -> str:
    """'full', 'saving' or 'packed': the way that ``block`` takes for ``x`` (N, C, H, W) under ``autocast``."""
    # A compiler decides itself what is kept; and it cannot trace the generators below.
    if torch.compiler.is_compiling():
        return 'full'
    if next(why_full(block, x, autocast), None) is not None:
        return 'full'
    if next(why_not_packed(block, x, autocast), None) is not None:
        return 'saving'
    return 'packed'


def why_full(block: ConvNeXtBlock, x: Tensor, autocast: torch.dtype | None) -> Iterator[str]:
    """The reasons why ``block`` takes the path 'full' for ``x``; none: it takes another."""
    if block.memory == 'full':
        yield "memory is 'full'"
    yield from active_transforms()
    if type(x) not in _TENSOR_TYPES or x.is_meta:
        yield f'the input is a {type(x).__name__} on {x.device}, not a plain tensor'
    if block.memory == 'auto' and _is_small(block, x, autocast):
        yield f'autograd is faster for a map as small as {tuple(x.shape)}'
    changed = False
    for reason in _changed_parts(block):
        changed = True
        yield reason
    # Changed parts may lack the attributes that these conditions look at.
    if not changed:
        yield from _unsupported_settings(block)
        yield from _unsupported_parameters(block, x, autocast)


def why_not_packed(block: ConvNeXtBlock, x: Tensor, autocast: torch.dtype | None) -> Iterator[str]:
    """The reasons why ``block`` does not take the path 'packed' for ``x`` where it would take 'saving'."""
    if not block.optimized:
        yield 'optimize_for_inference() was not called'
    if block.training:
        yield 'the block is in training mode'
    if torch.is_grad_enabled():
        yield 'gradients are enabled'
    if x.device.type != 'cpu':
        yield f'weights are packed for CPUs, the input is on {x.device}'
    dtype = autocast or x.dtype
    if not torch_private.has_packed_products(dtype):
        yield f'oneDNN has no packed products of {dtype} in this build of torch or on this CPU'
    if x.numel() == 0:
        yield 'the input is empty'


def active_transforms() -> Iterator[str]:
    """What looks into a forward pass now and understands only torch's own operations."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        yield 'the block is traced, compiled or exported'
    if torch_private.in_functorch_transform() or torch_private.in_forward_mode():
        yield 'a transform of torch.func or forward-mode differentiation is active'
    if torch_private.has_global_hooks():
        yield 'hooks on all modules are registered'


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """The dtype of autocast where ``x`` lies, None where autocast is off."""
    device = x.device.type
    if device == 'meta' or not torch.is_autocast_enabled(device):
        return None
    return torch.get_autocast_dtype(device)


def _is_small(block: ConvNeXtBlock, x: Tensor, autocast: torch.dtype | None) -> bool:
    """Whether autograd is faster for ``x`` (N, C, H, W); measured on CPUs, not yet on a GPU."""
    if x.device.type != 'cpu':
        return False
    if torch.is_grad_enabled():
        # On a CPU torch sums LayerNorm's gradients in the map's dtype, and in half precision loses digits.
        if autocast is not None or x.dtype in _HALF_PRECISION:
            return False
    elif block.training or not block.optimized:
        return x.numel() < 2 * SMALL_MAP
    return x.numel() < SMALL_MAP and x.shape[1] < WIDE_MAP


def _changed_parts(block: ConvNeXtBlock) -> Iterator[str]:
    """Parts whose call does something else than the built-in layer's formula."""
    for name, types in _PART_TYPES.items():
        part = getattr(block, name)
        if type(part) not in types or (part is not None and torch_private.has_hooks(part)):
            yield f'{name} was replaced or has hooks'


def _unsupported_settings(block: ConvNeXtBlock) -> Iterator[str]:
    conv = block.dwconv
    geometry = (conv.kernel_size, conv.stride, conv.padding, conv.groups, conv.padding_mode)
    if conv.dilation != (1, 1):
        yield f'the depthwise convolution is dilated by {conv.dilation[0]}'
    elif geometry != ((7, 7), (1, 1), (3, 3), conv.in_channels, 'zeros'):
        yield 'the depthwise convolution is not 7x7 with stride 1 and zero padding'
    w = block.parameters_by_name()
    required = (*w[:6], w.pwconv2_weight, w.pwconv2_bias)
    if any(parameter is None for parameter in required):
        yield 'a part has no weight or bias'


def _unsupported_parameters(
    block: ConvNeXtBlock, x: Tensor, autocast: torch.dtype | None
) -> Iterator[str]:
    dtypes = set()
    for parameter in block.parameters_by_name():
        if parameter is None:
            continue
        dtypes.add(parameter.dtype)
        if type(parameter) not in _TENSOR_TYPES:
            yield f'a weight is a {type(parameter).__name__}, not a plain tensor'
    if autocast is None:
        dtypes.add(x.dtype)
    elif x.dtype == torch.float64 or torch.float64 in dtypes:
        yield 'autocast does not cast torch.float64'
    if len(dtypes) > 1:
        names = ' and '.join(sorted(str(dtype) for dtype in dtypes))
        yield f'the input is {x.dtype}, and input and weights have several dtypes: {names}'
