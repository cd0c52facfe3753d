"""The block's operations as Triton kernels: one file for each operation and its backward pass.

Nothing imports this package by default. ``docs/kernels.md`` says how to switch the kernels on.
"""

from convnext_dense.kernels.triton_ops import TritonOps

__all__ = ['TritonOps']
