"""Matrix products of channels-last maps, by oneDNN's convolution or by the BLAS: on a CPU, whichever is faster there.

On some CPUs oneDNN does twice what the MKL in torch's wheels does, on others as much: a probe decides, once in a
process for a weight's shape, a dtype and a number of rows (up to 0.05 s), and no name of a CPU does. Elsewhere torch's
matmul runs (cuBLAS).
"""

import functools
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

_ROWS = 2048  # of a probe, at most
_PRODUCTS = 2**28  # multiplications of a probe, at most, as long as it has 256 rows
_MARGIN = 0.9  # the first way stays where another takes no less than this part of its time


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x @ weight.T + bias: (..., K), (O, K), (O,) -> (..., O)."""
    way = _way('linear', x, weight.shape)
    return _LINEAR[way](x.reshape(-1, x.shape[-1]), weight, bias).view(
        *x.shape[:-1], weight.shape[0]
    )


def input_grad(grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of :func:`linear` by its input, grad @ weight: (..., O), (O, K) -> (..., K)."""
    way = _way('input_grad', grad, weight.shape)
    return _INPUT_GRAD[way](grad.reshape(-1, grad.shape[-1]), weight).view(
        *grad.shape[:-1], weight.shape[1]
    )


def weight_grad(grad: Tensor, x: Tensor) -> Tensor:
    """Gradient of :func:`linear` by its weight, the sum over rows of grad (x) x: (..., O), (..., K) -> (O, K)."""
    way = _way('weight_grad', x, (grad.shape[-1], x.shape[-1]))
    return _WEIGHT_GRAD[way](grad.reshape(-1, grad.shape[-1]), x.reshape(-1, x.shape[-1]))


def _linear_as_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return _rows(F.conv2d(_map(x), weight[:, :, None, None], bias))


def _input_grad_as_convolution(grad: Tensor, weight: Tensor) -> Tensor:
    x = grad.new_empty(len(grad), weight.shape[1])  # its shape alone is read
    return _rows(_convolution_backward(grad, x, weight[:, :, None, None], [True, False, False])[0])


def _weight_grad_as_convolution(grad: Tensor, x: Tensor) -> Tensor:
    weight = x.new_empty(1).expand(grad.shape[1], x.shape[1], 1, 1)  # its shape alone is read
    return _convolution_backward(grad, x, weight, [False, True, False])[1].flatten(1)


def _convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]
) -> tuple[Tensor, ...]:
    return torch.ops.aten.convolution_backward(
        _map(grad), _map(x), weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1, wanted
    )


_LINEAR: dict[str, Callable] = {'convolution': _linear_as_convolution, 'matmul': F.linear}
_INPUT_GRAD: dict[str, Callable] = {
    'convolution': _input_grad_as_convolution,
    'matmul': torch.matmul,
}
_WEIGHT_GRAD: dict[str, Callable] = {
    'convolution': _weight_grad_as_convolution,
    'swapped': lambda grad, x: _weight_grad_as_convolution(x, grad).t(),
    'matmul': lambda grad, x: grad.t() @ x,
}


def _map(rows: Tensor) -> Tensor:
    """Rows (M, C) as channels-last maps, 16 or more where M divides: in one thread torch asks oneDNN from 16 on."""
    count = next((count for count in range(16, 65) if len(rows) % count == 0), 1)
    return rows.contiguous().view(count, 1, -1, rows.shape[1]).permute(0, 3, 1, 2)


def _rows(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _way(operation: str, x: Tensor, shape: tuple[int, int]) -> str:
    if (
        x.device.type != 'cpu'
        or not x.numel()
        or x.dtype == torch.float64
        or not torch.backends.mkldnn.is_available()
    ):
        return 'matmul'
    if torch.are_deterministic_algorithms_enabled():
        return 'convolution'  # a probe may end otherwise in the next run, and sums would be rounded otherwise
    rows = x.numel() // x.shape[-1]
    most = min(_ROWS, max(_PRODUCTS // (shape[0] * shape[1]), 256))
    rows = min(1 << (rows - 1).bit_length(), most)  # a power of two, for few probes
    return probe(operation, tuple(shape), x.dtype, torch.get_num_threads(), rows)


@functools.cache
def probe(
    operation: str, shape: tuple[int, int], dtype: torch.dtype, threads: int, rows: int
) -> str:
    """The way in which ``operation`` with a weight (O, K) takes the least time in this process: a key of its table.

    Args:
        threads: what torch.get_num_threads() says; another number asks for another probe.
        rows: of the map, M in (M, K).
    """
    out_dim, dim = shape
    ones = functools.partial(torch.ones, dtype=dtype, device='cpu')  # draws no random numbers
    x, grad = ones(rows, dim), ones(rows, out_dim)
    if operation == 'linear':
        weight, bias = ones(out_dim, dim), ones(out_dim)
        return fastest(
            {name: functools.partial(way, x, weight, bias) for name, way in _LINEAR.items()}
        )
    if operation == 'input_grad':
        weight = ones(out_dim, dim)
        return fastest(
            {name: functools.partial(way, grad, weight) for name, way in _INPUT_GRAD.items()}
        )
    return fastest({name: functools.partial(way, grad, x) for name, way in _WEIGHT_GRAD.items()})


def fastest(ways: dict[str, Callable[[], Tensor]]) -> str:
    """The name whose call takes the least time, of two after a first; the first unless another is clearly faster."""
    seconds = {name: _seconds(way) for name, way in ways.items()}
    first, best = next(iter(ways)), min(seconds, key=seconds.get)
    return best if seconds[best] < _MARGIN * seconds[first] else first


@torch.no_grad()
def _seconds(way: Callable[[], Tensor]) -> float:
    way()
    times = []
    for _ in range(2):
        start = time.perf_counter()
        way()
        times.append(time.perf_counter() - start)
    return min(times)
