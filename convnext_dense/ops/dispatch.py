"""Which implementation an operation runs with, and why not another.

'triton' are the kernels, 'cpu' the forms of ``ops.cpu``, 'torch' the references, which run anywhere. ``why_not`` lists
what keeps the Triton kernels from a call. The dispatcher takes them when the list is empty; who forces them gets the
list as an error. ``force`` and ``forbid`` hold for a block of code, in every thread: a backward pass runs in threads of
its own.
"""

import contextlib
import os
from collections.abc import Iterator
from importlib.util import find_spec

import torch
from torch import Tensor

IMPLEMENTATIONS = ('auto', 'triton', 'cpu', 'torch')
# operation -> shapes of its tensors, which a kernel trusts: x the first one's, c (C,), f (C, 1, 7, 7), p x's without C,
# n (N,); in products with a weight of O rows also w (O, C), t (C, O), o (O,), and y x's with O in place of C.
SHAPES = {
    'depthwise_conv': 'xfc',
    'depthwise_input_grad': 'xfx',
    'depthwise_weight_grad': 'xx',
    'depthwise_normalize': 'xfc',
    'normalize_backward': 'xxp',
    'layer_norm': 'xcc',
    'layer_norm_backward': 'xxppc',
    'linear_gelu': 'xwo',
    'linear_residual': 'xwoony',
    'gelu_backward': 'xxn',
    'mlp_backward': 'xwoxtn',
    'global_response_norm': 'xcc',
    'global_response_norm_backward': 'xxc',
}
OPERATIONS = tuple(SHAPES)
# Operations that have a form of their own in ``ops.cpu``.
ON_CPU = (
    'depthwise_input_grad',
    'depthwise_weight_grad',
    'linear_gelu',
    'linear_residual',
    'mlp_backward',
)
# operation -> where its kernel was measured to be worth it. Nothing runs by itself that is not in here.
MEASURED: dict[str, str] = {}
# operation -> channels (the last axis of its first tensor) that a kernel's tile has room for.
WIDEST = {
    'layer_norm': 8192,
    'layer_norm_backward': 4096,
    'normalize_backward': 8192,
    'mlp_backward': 256,
}
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
_HAS_TRITON = find_spec('triton') is not None  # looked for, not imported
_TENSOR_CORES = (8, 0)
_INDEX = 2**31

_wished: dict[str, str] = {}


@contextlib.contextmanager
def force(implementation: str, *operations: str) -> Iterator[None]:
    """Inside of the block, run the operations with one implementation, or as measured with 'auto'.

    None named means all that have it.

    Raises:
        ValueError: a name is unknown; or, at a call in the block, the implementation cannot run it, with the reasons.
    """
    _check_names(implementation, operations)
    before = dict(_wished)
    having = ON_CPU if implementation == 'cpu' else OPERATIONS
    _wished.update(dict.fromkeys(operations or having, implementation))
    try:
        yield
    finally:
        _wished.clear()
        _wished.update(before)


def forbid(*operations: str) -> contextlib.AbstractContextManager[None]:
    """Inside of the block, run the operations (none named: all) with torch."""
    return force('torch', *operations)


def choose(operation: str, *tensors: Tensor | None, implementation: str | None = None) -> str:
    """'triton', 'cpu' or 'torch' for this call; ``implementation`` goes before what ``force`` and ``forbid`` say.

    Raises:
        ValueError: what is forced cannot run, with the reasons.
    """
    wish = implementation or _wished.get(operation, 'auto')
    if wish == 'auto':
        # Most calls end here: no reason need be looked for where there is no GPU and nothing is measured.
        if operation in MEASURED and not why_not(operation, *tensors):
            return 'triton'
        on_cpu = tensors[0].device.type == 'cpu' and not torch.compiler.is_compiling()
        return 'cpu' if on_cpu and operation in ON_CPU else 'torch'
    _check_names(wish, (operation,))
    reasons = {'triton': cannot, 'cpu': _not_on_cpu}.get(wish, lambda *_: [])(operation, *tensors)
    if reasons:
        raise ValueError(
            f"implementation='{wish}' cannot run {operation}: {'; '.join(reasons)}. "
            "Write implementation='auto' to let it run with torch where it must"
        )
    return wish


def why_not(operation: str, *tensors: Tensor | None) -> list[str]:
    """Why the dispatcher does not run ``operation`` on these tensors with Triton; empty: it does.

    Args:
        tensors: the operation's, in its order; an optional one may be None.
    """
    _check_names('triton', (operation,))
    unmeasured = (
        []
        if operation in MEASURED
        else ["not yet measured on a GPU: force with implementation='triton'"]
    )
    return cannot(operation, *tensors) + unmeasured


def cannot(operation: str, *tensors: Tensor | None) -> list[str]:
    """Why Triton could not run ``operation`` on these tensors, even forced."""
    given = [one for one in tensors if one is not None]
    if not given:
        raise ValueError(f'name the tensors that {operation} is to run on, got none')
    software = [] if _HAS_TRITON else ['triton is not installed: pip install triton']
    return [
        *software,
        *_device(given),
        *_dtype(operation, tensors),
        *_size(operation, given[0].shape),
        *_shapes(operation, tensors),
    ]


def _not_on_cpu(operation: str, *tensors: Tensor | None) -> list[str]:
    devices = sorted(
        {str(one.device) for one in tensors if one is not None and one.device.type != 'cpu'}
    )
    reasons = [f'its tensors are on {", ".join(devices)}'] if devices else []
    return reasons + (
        [] if operation in ON_CPU else ['it has no form of its own there: torch runs it']
    )


def interpreted() -> bool:
    """Whether Triton was started with TRITON_INTERPRET=1: its kernels run on the CPU, slowly, as in the tests."""
    return os.environ.get('TRITON_INTERPRET') == '1'


def _device(tensors: list[Tensor]) -> list[str]:
    device = tensors[0].device
    if any(one.device != device for one in tensors):
        devices = sorted({str(one.device) for one in tensors})
        return [f'the tensors are on {", ".join(devices)}: move them to one device']
    if not tensors[0].is_cuda:
        return (
            [] if interpreted() else [f'a tensor on a CUDA device is needed, got one on {device}']
        )
    capability = torch.cuda.get_device_capability(device)
    if capability < _TENSOR_CORES:
        return [
            f'compute capability 8.0 or newer is needed, {device} has {".".join(map(str, capability))}'
        ]
    return []


def _dtype(operation: str, tensors: tuple[Tensor | None, ...]) -> list[str]:
    other = sorted(
        {str(one.dtype) for one in tensors if one is not None and one.dtype not in DTYPES}
    )
    reasons = (
        [f'dtypes float16, bfloat16 and float32 are supported, got {", ".join(other)}']
        if other
        else []
    )
    factors = [one for one, key in zip(tensors, SHAPES[operation]) if key in 'xwt']
    if 'w' in SHAPES[operation] and any(one.dtype != factors[0].dtype for one in factors):
        dtypes = sorted({str(one.dtype) for one in factors})
        reasons.append(f'the factors of a product need one dtype, got {" and ".join(dtypes)}')
    return reasons


def _size(operation: str, x: torch.Size) -> list[str]:
    reasons, channels = [], x[-1] if x else 0
    if not x or (operation.startswith(('depthwise', 'global')) and len(x) != 4):
        return [f'a map of shape (N, H, W, C) is needed, got {tuple(x)}']
    if operation in WIDEST and channels > WIDEST[operation]:
        reasons.append(f'at most {WIDEST[operation]} channels fit a tile, got {channels}')
    # Rows are counted, and places inside of a tile or of a row of the map, in 32 bits; only where a row starts has 64.
    if x[:-1].numel() >= _INDEX or (len(x) == 4 and 8 * x[2] * channels >= _INDEX):
        reasons.append(
            f'a map of shape {tuple(x)} has more rows, or longer ones, than 32 bits count'
        )
    return reasons


def _shapes(operation: str, tensors: tuple[Tensor | None, ...]) -> list[str]:
    x = tensors[0].shape
    wide, depth = tensors[1].shape[:1] if len(tensors) > 1 else x[-1:], x[-1:]
    expected = {
        'x': x,
        'c': depth,
        'f': (*depth, 1, 7, 7),
        'p': x[:-1],
        'n': x[:1],
        'w': (*wide, *depth),
        't': (*depth, *wide),
        'o': wide,
        'y': (*x[:-1], *wide),
    }
    return [
        f'tensor {number} needs shape {tuple(expected[key])}, got {tuple(one.shape)}'
        for number, (key, one) in enumerate(zip(SHAPES[operation], tensors))
        if one is not None and one.shape != expected[key]
    ]


def _check_names(implementation: str, operations: tuple[str, ...]) -> None:
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f'implementation is one of {", ".join(IMPLEMENTATIONS)}, got {implementation!r}'
        )
    for name in operations:
        if name not in OPERATIONS:
            raise ValueError(f'no operation is called {name!r}; there are {", ".join(OPERATIONS)}')
