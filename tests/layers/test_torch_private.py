"""What the layers use of torch without a public promise still works in this version of torch.

A failure here means that torch changed: mend ``layers/torch_private.py``, nothing else.
"""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from convnext_dense.layers import torch_private


def test_transforms_of_torch_func_are_seen():
    seen = []

    def look(x):
        seen.append(torch_private.in_functorch_transform())
        return x.sum()

    torch.func.grad(look)(torch.ones(2))
    assert seen == [True]
    assert not torch_private.in_functorch_transform()


def test_forward_mode_is_seen():
    assert not torch_private.in_forward_mode()
    with forward_ad.dual_level():
        assert torch_private.in_forward_mode()


def test_batched_gradients_are_seen():
    seen = []

    class Look(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            seen.append(torch_private.is_batched(grad))
            return grad

    x = torch.ones(2, requires_grad=True)
    torch.autograd.grad(Look.apply(x), x, torch.ones(3, 2), is_grads_batched=True)
    torch.autograd.grad(Look.apply(x), x, torch.ones(2))
    assert seen == [True, False]


def test_hooks_on_all_modules_are_seen():
    assert not torch_private.has_global_hooks()
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert torch_private.has_global_hooks()
    handle.remove()
    assert not torch_private.has_global_hooks()


@pytest.mark.parametrize(
    'register',
    [
        'register_forward_hook',
        'register_forward_pre_hook',
        'register_full_backward_hook',
        'register_full_backward_pre_hook',
    ],
)
def test_hooks_of_a_module_are_seen(register):
    module = nn.Linear(1, 1)
    assert not torch_private.has_hooks(module)
    getattr(module, register)(lambda *_: None)
    assert torch_private.has_hooks(module)


def test_a_patched_forward_is_seen():
    module = nn.Linear(1, 1)
    module.forward = lambda x: x
    assert torch_private.has_hooks(module)


def test_versions_count_changes():
    x = torch.zeros(2)
    before = torch_private.version_of(x)
    x.add_(1)
    assert torch_private.version_of(x) == before + 1
    with torch.inference_mode():
        assert torch_private.version_of(torch.zeros(2)) is None


@pytest.mark.skipif(
    not torch_private.has_packed_products(torch.float32), reason='needs a torch with oneDNN'
)
@torch.no_grad()
def test_packed_products_are_products():
    x = torch.randn(1, 16, 1, 50).to(memory_format=torch.channels_last)
    weight, bias = torch.randn(32, 16, 1, 1), torch.randn(32)
    packed = torch_private.pack_weight(weight, 50)
    expected = F.conv2d(x, weight, bias)
    total = torch.ones_like(expected)
    torch_private.packed_linear_add_(total, x, packed, bias)
    torch.testing.assert_close(torch_private.packed_linear(x, packed, bias), expected)
    torch.testing.assert_close(torch_private.packed_linear_gelu(x, packed, bias), F.gelu(expected))
    torch.testing.assert_close(total, expected + 1)
