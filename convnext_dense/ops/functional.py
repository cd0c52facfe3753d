"""The operations that ``layers`` may call, whichever implementation stands behind them.

Each takes and returns what its reference does, and ``implementation``: 'triton', 'cpu', 'torch', or 'auto' as measured;
``dispatch`` says which and why not another. Products need factors of one dtype: cast them under autocast.
"""

import functools
import inspect
from collections.abc import Callable

from torch import Tensor

from convnext_dense.ops import cpu, dispatch, reference

__all__ = list(dispatch.OPERATIONS)


def _dispatched(operation: str) -> Callable:
    plain = getattr(reference, operation)
    names = list(inspect.signature(plain).parameters)

    @functools.wraps(plain)
    def run(*args, implementation: str | None = None, **kwargs):
        given = (*args, *(kwargs[name] for name in names[len(args) :] if name in kwargs))
        tensors = [one for one in given if one is None or isinstance(one, Tensor)]
        chosen = dispatch.choose(operation, *tensors, implementation=implementation)
        if chosen != 'triton':
            return (getattr(cpu, operation) if chosen == 'cpu' else plain)(*args, **kwargs)
        from convnext_dense.ops import (
            registered,
        )  # declares the operations to torch: not before they are used

        return registered.OPS[operation](*args, **kwargs)

    return run


depthwise_conv = _dispatched('depthwise_conv')
depthwise_input_grad = _dispatched('depthwise_input_grad')
depthwise_weight_grad = _dispatched('depthwise_weight_grad')
depthwise_normalize = _dispatched('depthwise_normalize')
normalize_backward = _dispatched('normalize_backward')
layer_norm = _dispatched('layer_norm')
layer_norm_backward = _dispatched('layer_norm_backward')
linear_gelu = _dispatched('linear_gelu')
linear_residual = _dispatched('linear_residual')
gelu_backward = _dispatched('gelu_backward')
mlp_backward = _dispatched('mlp_backward')
global_response_norm = _dispatched('global_response_norm')
global_response_norm_backward = _dispatched('global_response_norm_backward')
