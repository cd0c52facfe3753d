"""Triton kernels, one file for each operation. ``ops.registered`` imports a file when its first kernel is asked for."""
