"""Tensor operations of the network; they know nothing of ConvNeXt."""
