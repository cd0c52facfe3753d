"""The operations as torch's own, in ``torch.ops.convnext_dense``: for torch.compile and torch.export, with gradients.

Each runs its Triton kernel where that can run and its reference elsewhere, so that a model exported on a GPU also runs
on a CPU. The reference gives signature, shapes and dtypes. A second gradient raises.
"""

import functools
from importlib import import_module

import torch
from torch import Tensor, library

from convnext_dense.ops import dispatch, reference

# file in ops/triton -> its operations
FILES = {
    'depthwise_conv': ('depthwise_conv', 'depthwise_input_grad'),
    'depthwise_weight_grad': ('depthwise_weight_grad',),
    'depthwise_normalize': ('depthwise_normalize',),
    'normalize_backward': ('normalize_backward',),
    'layer_norm': ('layer_norm', 'layer_norm_backward'),
    'linear_gelu': ('linear_gelu',),
    'linear_residual': ('linear_residual',),
    'gelu_backward': ('gelu_backward',),
    'mlp_backward': ('mlp_backward',),
    'global_response_norm': ('global_response_norm', 'global_response_norm_backward'),
}


def kernel(operation: str):
    """The function that launches an operation's kernels; imports triton."""
    file = next(file for file, operations in FILES.items() if operation in operations)
    return getattr(import_module(f'convnext_dense.kernels.{file}'), operation)


def _tensors(args: tuple) -> list[Tensor | None]:
    return [one for one in args if one is None or isinstance(one, Tensor)]


def _define(operation: str) -> library.CustomOpDef:
    plain = getattr(reference, operation)

    @functools.wraps(plain)
    def run(*args, **kwargs):
        if dispatch.cannot(operation, *_tensors(args)):
            return plain(*args, **kwargs)
        with torch.cuda.device_of(
            args[0]
        ):  # Triton launches on the current device, not on the tensor's
            return kernel(operation)(*args, **kwargs)

    definition = library.custom_op(f'convnext_dense::{operation}', run, mutates_args=())
    definition.register_fake(plain)
    return definition


OPS: dict[str, library.CustomOpDef] = {
    operation: _define(operation) for operation in dispatch.OPERATIONS
}


def _sum_to(grad: Tensor, like: Tensor) -> Tensor:
    """Sum over all but the last axis, in fp32, as a gradient of ``like`` (C,)."""
    return (
        grad.reshape(-1, grad.shape[-1])
        .sum(0, dtype=torch.promote_types(grad.dtype, torch.float32))
        .to(like.dtype)
    )


def _rows(x: Tensor) -> Tensor:
    return x.reshape(-1, x.shape[-1])


def _depthwise_conv_setup(ctx, inputs, output):
    ctx.save_for_backward(*inputs)


def _depthwise_backward(ctx, grad: Tensor, x: Tensor, weight: Tensor, bias: Tensor):
    """By x, weight and bias, or None for those that need none: the first three inputs of ``ctx``."""
    needs_x, *needs_parameters = ctx.needs_input_grad[:3]
    dx = OPS['depthwise_input_grad'](grad, weight) if needs_x else None
    if not any(needs_parameters):
        return dx, None, None
    dweight, dbias = OPS['depthwise_weight_grad'](grad, x)
    # In the parameter's own strides, of axes of one too: DistributedDataParallel warns and copies where they differ.
    return dx, torch.empty_like(weight).copy_(dweight), dbias.to(bias.dtype)


def _depthwise_conv_backward(ctx, grad):
    return _depthwise_backward(ctx, grad, *ctx.saved_tensors)


def _layer_norm_setup(ctx, inputs, output):
    x, weight, bias, _ = inputs
    ctx.bias_dtype = bias.dtype
    ctx.save_for_backward(x, weight, *output[1:])
    ctx.mark_non_differentiable(*output[1:])


def _layer_norm_backward(ctx, grad, *_):
    x, weight, mean, rstd = ctx.saved_tensors
    dx, dweight, dbias = OPS['layer_norm_backward'](grad, x, mean, rstd, weight)
    return dx, dweight.to(weight.dtype), dbias.to(ctx.bias_dtype), None


def _depthwise_normalize_setup(ctx, inputs, output):
    ctx.save_for_backward(*inputs[:3], *output)
    ctx.mark_non_differentiable(output[1])


def _depthwise_normalize_backward(ctx, grad, _):
    x, weight, bias, n, rstd = ctx.saved_tensors
    return *_depthwise_backward(
        ctx, OPS['normalize_backward'](grad, n, rstd), x, weight, bias
    ), None


def _linear_gelu_setup(ctx, inputs, output):
    x, weight, bias, ctx.keep = inputs
    ctx.save_for_backward(x, weight, bias, output[1])
    ctx.mark_non_differentiable(output[1])


def _linear_gelu_backward(ctx, grad, _):
    x, weight, bias, hidden = ctx.saved_tensors
    if not ctx.keep:
        hidden = torch.nn.functional.linear(x, weight, bias.to(x.dtype))
    _, dhidden = OPS['gelu_backward'](hidden, grad)
    return dhidden @ weight, _rows(dhidden).t() @ _rows(x), _sum_to(dhidden, bias), None


def _linear_residual_setup(ctx, inputs, output):
    x, weight, bias, gamma, sample_scale, residual = inputs
    ctx.save_for_backward(x, weight, bias, gamma, sample_scale)


def _linear_residual_backward(ctx, grad):
    """gamma's gradient comes from the weight's and the bias's: x @ weight.T + bias is neither kept nor made again."""
    x, weight, bias, gamma, sample_scale = ctx.saved_tensors
    scaled = grad if sample_scale is None else grad * sample_scale.view(-1, *[1] * (grad.dim() - 1))
    if gamma is None:
        scaled = scaled.to(x.dtype)
        return (
            scaled @ weight,
            _rows(scaled).t() @ _rows(x),
            _sum_to(scaled, bias),
            None,
            None,
            grad,
        )
    # gamma starts at 1e-6. fp16 has no room for gamma * weight, nor for what becomes dweight without gamma.
    product = torch.float32 if x.dtype == torch.float16 else x.dtype
    scaled = scaled.to(product)
    plain, dbias = (
        _rows(scaled).t() @ _rows(x).to(product),
        _sum_to(scaled, bias),
    )  # as if gamma were 1
    dgamma = (plain * weight).sum(1, dtype=dbias.dtype) + dbias * bias
    if product == x.dtype:
        dx = scaled @ (gamma[:, None] * weight).to(product)
    else:
        dx = (scaled * gamma).to(x.dtype) @ weight
    return (
        dx,
        (gamma[:, None] * plain).to(weight.dtype),
        (gamma * dbias).to(bias.dtype),
        dgamma.to(gamma.dtype),
        None,
        grad,
    )


def _global_response_norm_setup(ctx, inputs, output):
    *tensors, ctx.eps = inputs
    ctx.save_for_backward(*tensors)


def _global_response_norm_backward(ctx, grad):
    x, gamma, beta = ctx.saved_tensors
    dx, dgamma, dbeta = OPS['global_response_norm_backward'](grad, x, gamma, ctx.eps)
    return dx, dgamma.to(gamma.dtype), dbeta.to(beta.dtype), None


OPS['depthwise_conv'].register_autograd(
    _depthwise_conv_backward, setup_context=_depthwise_conv_setup
)
OPS['layer_norm'].register_autograd(_layer_norm_backward, setup_context=_layer_norm_setup)
OPS['depthwise_normalize'].register_autograd(
    _depthwise_normalize_backward, setup_context=_depthwise_normalize_setup
)
OPS['linear_gelu'].register_autograd(_linear_gelu_backward, setup_context=_linear_gelu_setup)
OPS['linear_residual'].register_autograd(
    _linear_residual_backward, setup_context=_linear_residual_setup
)
OPS['global_response_norm'].register_autograd(
    _global_response_norm_backward, setup_context=_global_response_norm_setup
)
