"""Matrix products on a CPU, by oneDNN or by MKL, whichever is faster there.

A product is a 1x1 convolution, which torch gives to oneDNN, or a matmul, which it gives to the BLAS
(MKL in torch's wheels). On some CPUs oneDNN is twice as fast, on others equal. A probe decides,
once in a process for each shape of the weight, dtype and number of rows; it takes up to 0.05 s.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from convnext_dense.ops.probe import fastest

# Limits of a probe's size: rows, and multiplications as long as there are _MIN_ROWS rows.
_MAX_ROWS = 2048
_MAX_MULTIPLICATIONS = 2**28
_MIN_ROWS = 256


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Linear layer x @ weight.T + bias: (..., K), (O, K), (O,) -> (..., O)."""
    method = choose_method('linear', x, weight.shape)
    y = METHODS['linear'][method](_rows(x), weight, bias)
    return y.view(*x.shape[:-1], weight.shape[0])


def input_grad(grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of :func:`linear` w.r.t. ``x``, grad @ weight: (..., O), (O, K) -> (..., K)."""
    method = choose_method('input_grad', grad, weight.shape)
    dx = METHODS['input_grad'][method](_rows(grad), weight)
    return dx.view(*grad.shape[:-1], weight.shape[1])


def weight_grad(grad: Tensor, x: Tensor) -> Tensor:
    """Gradient of :func:`linear` w.r.t. ``weight``, grad.T @ x: (..., O), (..., K) -> (O, K)."""
    method = choose_method('weight_grad', x, (grad.shape[-1], x.shape[-1]))
    return METHODS['weight_grad'][method](_rows(grad), _rows(x))


def _linear_by_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return _from_map(F.conv2d(_as_map(x), weight[:, :, None, None], bias))


def _input_grad_by_convolution(grad: Tensor, weight: Tensor) -> Tensor:
    x = grad.new_empty(len(grad), weight.shape[1])  # only its shape is read
    kernel = weight[:, :, None, None]
    return _from_map(_convolution_backward(grad, x, kernel, [True, False, False])[0])


def _weight_grad_by_convolution(grad: Tensor, x: Tensor) -> Tensor:
    kernel = x.new_empty(1).expand(grad.shape[1], x.shape[1], 1, 1)  # only its shape is read
    return _convolution_backward(grad, x, kernel, [False, True, False])[1].flatten(1)


def _weight_grad_by_transposed_convolution(grad: Tensor, x: Tensor) -> Tensor:
    return _weight_grad_by_convolution(x, grad).t()


def _weight_grad_by_matmul(grad: Tensor, x: Tensor) -> Tensor:
    return grad.t() @ x


def _convolution_backward(
    grad: Tensor, x: Tensor, kernel: Tensor, output_mask: list[bool]
) -> tuple[Tensor, ...]:
    return torch.ops.aten.convolution_backward(
        _as_map(grad),
        _as_map(x),
        kernel,
        bias_sizes=None,
        stride=[1, 1],
        padding=[0, 0],
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=1,
        output_mask=output_mask,
    )


# Operation -> name of a method -> the function, which takes rows (M, K). The first method is the
# preferred one.
METHODS: dict[str, dict[str, Callable[..., Tensor]]] = {
    'linear': {'convolution': _linear_by_convolution, 'matmul': F.linear},
    'input_grad': {'convolution': _input_grad_by_convolution, 'matmul': torch.matmul},
    'weight_grad': {
        'convolution': _weight_grad_by_convolution,
        'transposed convolution': _weight_grad_by_transposed_convolution,
        'matmul': _weight_grad_by_matmul,
    },
}


def choose_method(operation: str, x: Tensor, weight_shape: tuple[int, ...]) -> str:
    """The name of the method in ``METHODS[operation]`` that runs for ``x`` and a weight (O, K)."""
    if not x.numel() or x.dtype == torch.float64 or not torch.backends.mkldnn.is_available():
        return 'matmul'
    if torch.are_deterministic_algorithms_enabled():
        # Another run's probe may choose another method, which rounds sums differently.
        return 'convolution'
    out_dim, dim = weight_shape
    rows = x.numel() // x.shape[-1]
    rows = 1 << (rows - 1).bit_length()  # the next power of two: few different probes
    max_rows = max(_MAX_MULTIPLICATIONS // (out_dim * dim), _MIN_ROWS)
    rows = min(rows, max_rows, _MAX_ROWS)
    return probe(operation, out_dim, dim, x.dtype, torch.get_num_threads(), rows)


@functools.cache
def probe(
    operation: str, out_dim: int, dim: int, dtype: torch.dtype, threads: int, rows: int
) -> str:
    """The name of the fastest method in ``METHODS[operation]``, measured once in a process.

    Args:
        operation: key of ``METHODS``.
        out_dim: O of the weight (O, K).
        dim: K of the weight.
        dtype: of all tensors.
        threads: torch.get_num_threads(); another number of threads is another probe.
        rows: M of the input (M, K).
    """
    # Ones rather than random numbers: a probe must not change the state of the random generator.
    ones = functools.partial(torch.ones, dtype=dtype, device='cpu')
    arguments = {
        'linear': (ones(rows, dim), ones(out_dim, dim), ones(out_dim)),
        'input_grad': (ones(rows, out_dim), ones(out_dim, dim)),
        'weight_grad': (ones(rows, out_dim), ones(rows, dim)),
    }
    calls = {}
    for name, method in METHODS[operation].items():
        calls[name] = functools.partial(method, *arguments[operation])
    return fastest(calls)


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _as_map(rows: Tensor) -> Tensor:
    """Rows (M, C) as channels-last maps (B, C, M / B, 1), the input of a 1x1 convolution.

    B is the first divisor of M from 16 on, or 1, because with one thread torch uses oneDNN only
    for batches of 16 or more.
    """
    num_rows, channels = rows.shape
    batch = 1
    for count in range(16, 65):
        if num_rows % count == 0:
            batch = count
            break
    return rows.contiguous().view(batch, 1, num_rows // batch, channels).permute(0, 3, 1, 2)


def _from_map(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
