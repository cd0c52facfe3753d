"""What several kernels share: launching, offsets in memory, and the normal distribution of GELU."""

import torch
import triton
import triton.language as tl
from torch import Tensor


def launch(kernel, programs: int, *args, **constants) -> None:
    """Run ``programs`` programs of ``kernel`` on the device of its first argument, a tensor."""
    # Triton launches on the current device, which need not be the tensor's.
    with torch.cuda.device_of(args[0]):
        kernel[(programs,)](*args, **constants)


def pointer(tensor: Tensor | None, stand_in: Tensor) -> Tensor:
    """Return ``tensor``, contiguous, or for None ``stand_in``, which the kernel does not read."""
    if tensor is None:
        return stand_in
    return tensor.contiguous()


@triton.jit
def row_start(row, width):
    """Offset of a row's first element, in 64 bits: a feature map may pass 2^31 elements.

    Offsets within a tile stay in 32 bits, which need fewer registers.
    """
    return row.to(tl.int64) * width


@triton.jit
def normal_cdf(x):
    """Cumulative distribution function of the normal distribution; x times it is GELU."""
    return 0.5 + 0.5 * tl.erf(x * 0.7071067811865476)
