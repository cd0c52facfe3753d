"""Each operation of ``convnext_dense.ops`` by its Triton kernel, by its reference, and by torch's own kernel.

At the sizes of each stage; first the error, then the time. ``library`` is torch's own kernel (cuDNN's too) where the
reference, written to be read, is not that already.
"""

from __future__ import annotations

import functools
import inspect

import torch
from gpu_run import Run
from torch import Tensor

from convnext_dense.ops import dispatch, functional, reference
from convnext_dense.variants import get_variant

# Operations whose first tensor is the hidden layer, four times as wide as the block.
ON_HIDDEN = {
    'linear_residual',
    'gelu_backward',
    'global_response_norm',
    'global_response_norm_backward',
}
FLOOR = 64 * torch.finfo(torch.float32).eps  # of relative errors: fp32 sums over all pixels
_aten = torch.ops.aten


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, wanted: list[bool]):
    return _aten.convolution_backward(
        grad,
        x,
        weight.to(x.dtype),
        [x.shape[1]],
        [1, 1],
        [3, 3],
        [1, 1],
        False,
        [0, 0],
        x.shape[1],
        wanted,
    )


def _nchw(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def _library_weight_grad(grad: Tensor, x: Tensor):
    weight = x.new_empty(x.shape[-1], 1, 7, 7)
    return _convolution_backward(_nchw(grad), _nchw(x), weight, [False, True, True])


def _library_layer_norm_backward(grad, x, mean, rstd, weight, *_):
    grad, x = grad.float(), x.float()  # as under autocast
    return _aten.native_layer_norm_backward(
        grad,
        x,
        x.shape[-1:],
        mean[..., None],
        rstd[..., None],
        weight,
        torch.zeros_like(weight),
        [True, True, True],
    )


LIBRARY = {
    'depthwise_input_grad': lambda grad, weight, _: _convolution_backward(
        _nchw(grad), _nchw(grad), weight, [True, False, False]
    ),
    'depthwise_weight_grad': _library_weight_grad,
    'layer_norm_backward': _library_layer_norm_backward,
    'gelu_backward': lambda hidden, grad, _: (
        torch.nn.functional.gelu(hidden),
        _aten.gelu_backward(grad, hidden),
    ),
}


def sides(run: Run, arch: str, shape: tuple[int, ...]) -> dict[str, tuple]:
    """Stage -> ((N, H, W), C) of its maps, for images of ``shape`` (N, 3, H, W)."""
    dims = (24, 40) if run.toy else get_variant(arch).dims
    return {
        f'stage {i + 1}': ((shape[0], shape[2] // 4 // 2**i, shape[3] // 4 // 2**i), dim)
        for i, dim in enumerate(dims)
    }


def forms(operation: str) -> list[dict]:
    """Without arguments that are not tensors; and once with each switch turned round."""
    parameters = inspect.signature(getattr(reference, operation)).parameters.values()
    return [
        {},
        *({one.name: not one.default} for one in parameters if isinstance(one.default, bool)),
    ]


def arguments(run: Run, operation: str, side: tuple[int, int, int], dim: int) -> list[Tensor]:
    """Random tensors of the shapes that ``dispatch.SHAPES`` names, in the dtypes of training under autocast."""
    depth, wide = (4 * dim, dim) if operation in ON_HIDDEN else (dim, 4 * dim)
    shapes = {
        'x': (*side, depth),
        'c': (depth,),
        'f': (depth, 1, 7, 7),
        'p': side,
        'n': side[:1],
        'w': (wide, depth),
        't': (depth, wide),
        'o': (wide,),
        'y': (*side, wide),
    }
    names = inspect.signature(getattr(reference, operation)).parameters
    return [
        _draw(run, letter, shapes[letter], name)
        for letter, name in zip(dispatch.SHAPES[operation], names)
    ]


def _draw(run: Run, letter: str, shape: tuple[int, ...], name: str) -> Tensor:
    if letter in 'pn':  # statistics, factors of a sample
        return torch.rand(shape, device=run.device) + 0.5
    scale = 1 / 7 if letter == 'f' else shape[-1] ** -0.5 if letter in 'wt' else 1.0
    fp32 = letter in 'cfo' or name.startswith(
        'residual'
    )  # autocast leaves the residual stream in fp32
    return (scale * torch.randn(shape, device=run.device)).to(torch.float32 if fp32 else run.dtype)


def measure_operations(run: Run, arch: str) -> None:
    """Into ``depthwise of torch`` and ``operations``, at the first of the settings' shapes."""
    shape = run.report['settings']['shapes'][0]
    key = f'{arch} {"x".join(map(str, shape))}'
    for stage, (side, dim) in sides(run, arch, shape).items():
        run.item(
            run.at('depthwise of torch', key),
            stage,
            functools.partial(measure_library_depthwise, run, side, dim),
        )
    for operation in dispatch.OPERATIONS:
        for flags in forms(operation):
            name = ' '.join([operation, *(f'{flag}={value}' for flag, value in flags.items())])
            for stage, (side, dim) in sides(run, arch, shape).items():
                run.item(
                    run.at('operations', key, name),
                    stage,
                    functools.partial(measure_operation, run, operation, side, dim, flags),
                )
                run.free()


def measure_operation(
    run: Run, operation: str, side: tuple[int, int, int], dim: int, flags: dict
) -> dict:
    """Errors, milliseconds, and the floor: bytes over the copy's rate or operations over the product's."""
    torch.manual_seed(0)
    args = arguments(run, operation, side, dim)
    reasons = dispatch.cannot(operation, *args)
    if reasons:
        return {'cannot': '; '.join(reasons)}
    calls = {
        name: functools.partial(getattr(functional, operation), *args, **flags, implementation=name)
        for name in ('triton', 'torch')
    }
    errors = compare(calls, operation, args, flags)
    if operation in LIBRARY and not flags:
        calls['library'] = functools.partial(LIBRARY[operation], *args)
        calls['library']()
    moved = sum(one.nbytes for one in (*args, *_tuple(calls['torch']())))
    products = (
        2
        * args[0].numel()
        * sum(
            args[index].numel() // args[0].shape[-1]
            for index, letter in enumerate(dispatch.SHAPES[operation])
            if letter in 'wt'
        )
    )
    return {
        'shape': [*side, dim],
        **errors,
        'ms': run.times(calls, seconds=0.3, cold=True),
        'floor_ms': _floor(run, moved, products),
    }


def _floor(run: Run, moved: int, products: int) -> float | None:
    facts = run.report.get('facts', {})
    rates = facts.get('copy_tb_s'), facts.get('gemm_tflops')
    if not all(isinstance(rate, float) for rate in rates):
        return None
    return float(f'{max(moved / rates[0], products / rates[1]) / 1e9:.3g}')


def compare(calls: dict, operation: str, args: list[Tensor], flags: dict) -> dict:
    """Relative errors against the reference in fp32; right: no more than twice torch's. Empty outputs do not count."""
    wide = [one.float() for one in args]
    exact = _tuple(getattr(reference, operation)(*wide, **flags))
    errors = {
        name: [
            float(torch.linalg.vector_norm(out.float() - true) / torch.linalg.vector_norm(true))
            for out, true in zip(_tuple(call()), exact, strict=True)
            if true.numel()
        ]
        for name, call in calls.items()
    }
    right = all(
        ours <= 2 * theirs + FLOOR
        for ours, theirs in zip(errors['triton'], errors['torch'], strict=True)
    )
    return {
        'error': {name: float(f'{max(values):.3g}') for name, values in errors.items()},
        'right': right,
    }


def _tuple(outputs) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def measure_library_depthwise(run: Run, side: tuple[int, int, int], dim: int) -> dict:
    """Milliseconds of torch's depthwise 7x7, by cuDNN or its own kernel as it chooses, in both memory formats."""
    weight, bias = (
        torch.randn(dim, 1, 7, 7, device=run.device).to(run.dtype),
        torch.zeros(dim, device=run.device),
    )
    maps = [_nchw(torch.randn(*side, dim, device=run.device).to(run.dtype)) for _ in range(2)]
    calls = {}
    for layout, (x, grad) in {
        'channels_last': maps,
        'contiguous': [one.contiguous() for one in maps],
    }.items():
        calls[f'forward {layout}'] = functools.partial(
            torch.nn.functional.conv2d, x, weight, bias.to(run.dtype), padding=3, groups=dim
        )
        for name, wanted in (
            ('input grad', [True, False, False]),
            ('weight grad', [False, True, True]),
        ):
            calls[f'{name} {layout}'] = functools.partial(
                _convolution_backward, grad, x, weight, wanted
            )
    for call in calls.values():
        call()
    return run.times(calls, seconds=0.5, cold=True)
