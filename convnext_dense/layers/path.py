"""Which of three equivalent paths a block takes for an input, and why not another.

'full' is the formula as autograd differentiates it, 'saving' the function of ``memory_saving.py``,
'packed' the folded weights of ``packed.py``, for inference on a CPU. Results are the same up to
rounding.

Each condition stands once, in :func:`why_full` or :func:`why_not_packed`, except that
:func:`choose_path` asks for a compiler first. They are generators: a decision stops at the first
reason, and a call without reasons formats no text.
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

# A CPU's map with fewer elements (N x C x H x W) is faster in 'full', because the other paths make
# more and smaller calls. The limit is twice as high without gradients if the block is not packed.
# Measured by benchmarks/cpu_blocks.py.
SMALL_MAP = 2**17
# With this many channels or more, the products of the other paths are so much faster that they win,
# except without gradients if the block is not packed.
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
    """The path of ``block`` for ``x`` (N, C, H, W): 'full', 'saving' or 'packed'."""
    # A compiler decides itself what is kept. Older ones cannot trace the generators below.
    if torch.compiler.is_compiling():
        return 'full'
    if next(why_full(block, x, autocast), None) is not None:
        return 'full'
    if next(why_not_packed(block, x, autocast), None) is not None:
        return 'saving'
    return 'packed'


def why_full(block: ConvNeXtBlock, x: Tensor, autocast: torch.dtype | None) -> Iterator[str]:
    """The reasons why ``block`` takes the path 'full' for ``x``; none if it takes another."""
    if block.memory == 'full':
        yield "memory is 'full'"
    yield from active_transforms()
    if type(x) not in _TENSOR_TYPES or x.is_meta:
        yield f'the input is a {type(x).__name__} on {x.device}, not a plain tensor'
    if block.memory == 'auto' and _is_small(block, x, autocast):
        yield f'autograd is faster for a map as small as {tuple(x.shape)}'
    has_changed_parts = False
    for reason in _changed_parts(block):
        has_changed_parts = True
        yield reason
    # The other conditions look at attributes that a changed part may not have.
    if not has_changed_parts:
        yield from _unsupported_settings(block)
        yield from _unsupported_parameters(block, x, autocast)


def why_not_packed(block: ConvNeXtBlock, x: Tensor, autocast: torch.dtype | None) -> Iterator[str]:
    """The reasons why ``block`` takes 'saving' rather than 'packed' for ``x``."""
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


def active_transforms() -> list[str]:
    """What is tracing or transforming the forward pass now, and knows only torch's operations."""
    active = []
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        active.append('the block is traced, compiled or exported')
    if torch_private.in_functorch_transform() or torch_private.in_forward_mode():
        active.append('a transform of torch.func or forward-mode differentiation is active')
    if torch_private.has_global_hooks():
        active.append('hooks on all modules are registered')
    return active


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
        # On a CPU torch sums LayerNorm's gradients in the map's dtype, and in half precision loses
        # digits.
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
