"""Triton kernels, one file for each operation. ``ops.library`` imports a file when its first kernel is asked for."""
