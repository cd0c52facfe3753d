"""Everything private of torch that the layers use, with the reason why nothing public does it.

``tests/layers/test_torch_private.py`` fails where a version of torch has changed it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

# Where a module stores its hooks. They can be registered publicly, but not queried.
HOOK_DICTS = (
    '_forward_hooks',
    '_forward_pre_hooks',
    '_backward_hooks',
    '_backward_pre_hooks',
)

# A 1x1 convolution's padding, stride, dilation and groups, as the operations of oneDNN take them.
_POINTWISE = ([0, 0], [1, 1], [1, 1], 1)


def in_functorch_transform() -> bool:
    """Whether a transform of torch.func (grad, vmap, ...) is active; torch.func has no query."""
    return torch._C._are_functorch_transforms_active()


def in_forward_mode() -> bool:
    """Whether forward-mode differentiation is active.

    Public functions only tell whether a given tensor has a tangent; here any parameter might.
    """
    return forward_ad._current_level >= 0


def is_batched(grad: Tensor) -> bool:
    """Whether a gradient is a batch of gradients (``is_grads_batched=True``); no public query."""
    return torch._C._functorch.is_legacy_batchedtensor(grad)


def has_global_hooks() -> bool:
    """Whether hooks on all modules are registered; they can be set publicly, but not queried."""
    return nn.modules.module._has_any_global_hook()


def has_hooks(module: nn.Module) -> bool:
    """Whether a module has hooks or a patched ``forward``."""
    own = module.__dict__
    if 'forward' in own:
        return True
    return any(own[name] for name in HOOK_DICTS)


def version_of(tensor: Tensor) -> int | None:
    """How often torch saw the tensor change, None for inference tensors; no public query."""
    if tensor.is_inference():
        return None
    return tensor._version


def has_packed_products(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies with packed weights in ``dtype`` on this CPU.

    torch.compile's backend for CPUs packs weights by these operations; eager torch has no public
    way to do so.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    if not hasattr(torch.ops.mkldnn, '_convolution_pointwise'):
        return False
    if dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype == torch.float32


def pack_weight(weight: Tensor, rows: int) -> Tensor:
    """A 1x1 convolution's weight (O, K, 1, 1), packed by oneDNN for ``rows`` pixels."""
    return torch.ops.mkldnn._reorder_convolution_weight(
        weight.detach(), *_POINTWISE, [1, weight.shape[1], 1, rows]
    )


def packed_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """1x1 convolution of a map (1, K, 1, M) -> (1, O, 1, M), packed weight or not."""
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *_POINTWISE, 'none', [], '')


def packed_linear_gelu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """As :func:`packed_linear`, then the exact GELU."""
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *_POINTWISE, 'gelu', [], 'none')


def packed_linear_add_(total: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> None:
    """As :func:`packed_linear`, added to ``total`` (1, O, 1, M) in place."""
    torch.ops.mkldnn._convolution_pointwise_.binary(
        total, x, weight, bias, *_POINTWISE, 'add', 1, None, [], None
    )
