"""GELU and its gradient in one pass: hidden and grad are read once for both matrix products of a backward pass."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from convnext_dense.kernels.shared import blocks, gelu_slope, normal_below, row_start

BLOCK = 1024  # elements of a program: 8 for each thread of 4 warps


@triton.jit(do_not_specialize=['sample_blocks'])
def gelu_backward_kernel(
    hidden_ptr,
    grad_ptr,
    scale_ptr,
    out_ptr,
    dhidden_ptr,
    size,
    sample_blocks,
    SCALE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """BLOCK elements of one sample.

    Args:
        hidden_ptr, grad_ptr, out_ptr, dhidden_ptr: (N, size). What passes the end of a sample is masked.
        scale_ptr: (N,), read if SCALE.
        sample_blocks: programs for each sample.
    """
    sample = tl.program_id(0) // sample_blocks
    block = row_start(tl.program_id(0) % sample_blocks, BLOCK)
    start, offset = row_start(sample, size) + block, tl.arange(0, BLOCK)
    mask = offset < tl.minimum(size - block, BLOCK).to(tl.int32)
    hidden = tl.load(hidden_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
    grad = tl.load(grad_ptr + start + offset, mask=mask, other=0.0).to(tl.float32)
    below = normal_below(hidden)
    out, dhidden = hidden * below, grad * gelu_slope(hidden, below)
    if SCALE:
        scale = tl.load(scale_ptr + row_start(sample, 1)).to(tl.float32)
        out, dhidden = out * scale, dhidden * scale
    tl.store(out_ptr + start + offset, out.to(out_ptr.dtype.element_ty), mask=mask)
    tl.store(dhidden_ptr + start + offset, dhidden.to(dhidden_ptr.dtype.element_ty), mask=mask)


def gelu_backward(
    hidden: Tensor, grad: Tensor, sample_scale: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """See :func:`convnext_dense.ops.reference.gelu_backward`."""
    hidden, grad = hidden.contiguous(), grad.contiguous()
    out, dhidden = torch.empty_like(hidden), torch.empty_like(grad)
    samples = 1 if sample_scale is None else hidden.shape[0]
    size = hidden.numel() // max(samples, 1)
    gelu_backward_kernel[(samples * blocks(size, BLOCK),)](
        hidden,
        grad,
        hidden if sample_scale is None else sample_scale.contiguous(),
        out,
        dhidden,
        size,
        blocks(size, BLOCK),
        SCALE=sample_scale is not None,
        BLOCK=BLOCK,
        num_warps=4,
    )
    return out, dhidden
