"""The operations as torch's: declared well, seen through by torch.compile and torch.export, kernels or not."""

import pytest
import torch
from torch import library

from convnext_dense.ops import dispatch, functional, registered


def _args():
    x, hidden = torch.randn(2, 2, 3, 4), torch.randn(2, 2, 3, 6)
    filters, widen, narrow, scale = (
        torch.randn(4, 1, 7, 7),
        torch.randn(6, 4),
        torch.randn(4, 6),
        torch.rand(2),
    )
    statistics = torch.randn(2, 2, 3), torch.rand(2, 2, 3)
    return {
        'depthwise_conv': (x, filters, torch.randn(4)),
        'depthwise_input_grad': (x, filters, None),
        'depthwise_weight_grad': (x, x + 1),
        'depthwise_normalize': (x, filters, torch.randn(4)),
        'normalize_backward': (x, x + 1, statistics[1]),
        'layer_norm': (x, torch.randn(4), torch.randn(4)),
        'layer_norm_backward': (x, x + 1, *statistics, torch.randn(4)),
        'linear_gelu': (x, widen, torch.randn(6)),
        'linear_residual': (hidden, narrow, torch.randn(4), torch.randn(4), scale, x),
        'gelu_backward': (hidden, hidden + 1, None),
        'mlp_backward': (x, widen, torch.randn(6), x + 1, narrow, scale),
        'global_response_norm': (x, torch.randn(4), torch.randn(4)),
        'global_response_norm_backward': (x, x + 1, torch.randn(4)),
    }


OPCHECKS = ('test_schema', 'test_autograd_registration', 'test_faketensor')
ALL_OPCHECKS = (*OPCHECKS, 'test_aot_dispatch_dynamic')
DIFFERENTIABLE = {
    'depthwise_conv',
    'depthwise_normalize',
    'layer_norm',
    'linear_gelu',
    'linear_residual',
    'global_response_norm',
}


@pytest.mark.parametrize('operation', dispatch.OPERATIONS)
def test_opcheck(operation):
    args = _args()[operation]
    if operation in DIFFERENTIABLE:
        args = tuple(one.clone().requires_grad_() for one in args)
    # Symbolic sizes take seconds for a convolution: ``depthwise_conv`` alone goes through them.
    checks = (
        OPCHECKS if operation in ('depthwise_normalize', 'depthwise_input_grad') else ALL_OPCHECKS
    )
    assert set(library.opcheck(registered.OPS[operation], args, test_utils=checks).values()) == {
        'SUCCESS'
    }


def test_every_operation_has_a_kernel_file_and_a_name_to_call():
    in_files = [operation for operations in registered.FILES.values() for operation in operations]
    assert (
        sorted(in_files)
        == sorted(dispatch.OPERATIONS)
        == sorted(functional.__all__)
        == sorted(_args())
    )
    assert all(hasattr(functional, operation) for operation in dispatch.OPERATIONS)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('operation', dispatch.OPERATIONS)
def test_shapes_without_memory(operation, dtype):
    """On the meta device, as torch.compile sees it: an activation of 2^33 elements costs nothing."""
    args = [
        None if one is None else one.to('meta', one.dtype if one.dim() == 1 else dtype)
        for one in _args()[operation]
    ]
    batch = [
        one
        if one is None or one.dim() < 3 or one.shape[0] != 2
        else one[:1].expand(2**28, *one.shape[1:])
        for one in args
    ]
    batch = [
        one.new_empty(2**28) if one is not None and one.dim() == 1 and len(one) == 2 else one
        for one in batch
    ]
    outputs = registered.OPS[operation](*batch)
    for one in (outputs,) if isinstance(outputs, torch.Tensor) else outputs:
        assert one.device.type == 'meta' and one.is_contiguous()


def test_arguments_by_name_in_any_order():
    x, weight, bias = _args()['layer_norm']
    for call in (registered.OPS['layer_norm'], functional.layer_norm):
        named = call(bias=bias, eps=1e-3, x=x, weight=weight)
        assert all(map(torch.equal, named, call(x, weight, bias, 1e-3)))


def _block(x, filters, bias, widen, wide_bias, narrow, gamma):
    y = functional.depthwise_normalize(x, filters, bias)[0]
    y = functional.linear_gelu(y, widen, wide_bias)[0]
    return functional.linear_residual(y, narrow, bias, gamma, None, x)


def _block_args():
    args = _args()
    return (
        *args['depthwise_normalize'],
        *args['linear_gelu'][1:],
        args['linear_residual'][1],
        torch.randn(4),
    )


def test_compiles_to_one_graph():
    args = [one.requires_grad_() for one in _block_args()]
    eager = _block(*args)
    compiled = torch.compile(_block, backend='aot_eager', fullgraph=True)(*args)
    torch.testing.assert_close(compiled, eager)
    for one, other in zip(
        *(torch.autograd.grad(out.sum(), args) for out in (eager, compiled)), strict=True
    ):
        torch.testing.assert_close(one, other)
