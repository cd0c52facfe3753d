"""A block with Triton's kernels: result and gradients equal those with ``TorchOps``."""

from unittest import mock

import pytest
import torch

from convnext_dense import ops
from convnext_dense.kernels import TritonOps, triton_ops
from convnext_dense.layers import ConvNeXtBlock
from convnext_dense.ops import TorchOps

pytestmark = pytest.mark.filterwarnings('ignore:Conversion of an array with ndim > 0')
# Operations of one training step that have a kernel: 4 forward, 4 backward; GRN runs 3 times.
V1_CALLS = 8
V2_CALLS = 11


def train(block, x, block_ops, monkeypatch):
    """The result and all gradients of one training step."""
    monkeypatch.setitem(ops.BY_DEVICE, x.device.type, block_ops)
    block.zero_grad()
    x = x.clone().requires_grad_()
    torch.manual_seed(1)  # drops the same samples in each run
    y = block(x)
    y.backward(torch.linspace(-1, 1, y.numel(), device=x.device).view(y.shape))
    return [y.detach(), x.grad, *(parameter.grad for parameter in block.parameters())]


def make_block(memory, use_grn, device):
    scale = 0.0 if use_grn else 0.5
    block = ConvNeXtBlock(
        8, drop_path=0.5, layer_scale_init_value=scale, use_grn=use_grn, memory=memory
    )
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return block.to(device)


@pytest.mark.parametrize(('memory', 'use_grn'), [('half', False), ('low', True)])
def test_training_step_equals_torch(memory, use_grn, device, monkeypatch):
    block = make_block(memory, use_grn, device)
    x = torch.randn(2, 8, 4, 3, device=device)
    expected = train(block, x, TorchOps(), monkeypatch)
    with mock.patch.object(triton_ops, 'find_reasons', wraps=triton_ops.find_reasons) as find:
        result = train(block, x, TritonOps(), monkeypatch)
    assert find.call_count == (V2_CALLS if use_grn else V1_CALLS)
    for ours, theirs in zip(result, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_training_step_under_autocast(device, monkeypatch):
    block = make_block('half', False, device)
    x = torch.randn(2, 8, 4, 3, device=device)
    with torch.autocast(device, torch.float16):
        expected = train(block, x, TorchOps(), monkeypatch)
        result = train(block, x, TritonOps(), monkeypatch)
    for ours, theirs in zip(result, expected, strict=True):
        assert ours.dtype == theirs.dtype
        error = torch.linalg.vector_norm(ours - theirs) / torch.linalg.vector_norm(theirs)
        assert error < 2e-3
