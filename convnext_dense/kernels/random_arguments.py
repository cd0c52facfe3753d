"""Arguments for every operation that has a Triton kernel: for the kernels' tests and benchmarks."""

from __future__ import annotations

import torch
from torch import Tensor

from convnext_dense.kernels import TritonOps
from convnext_dense.ops import TorchOps

OPERATIONS = tuple(name for name in vars(TritonOps) if not name.startswith('_'))


class RandomArguments:
    """Random arguments of each operation by the operation's name, as a block under autocast has.

    Args:
        shape: (N, H, W) of the feature map.
        channels: C of the block; the hidden layer has 4C.
        dtype: of feature maps and of the factors of matrix products. Other parameters, and what
            belongs to the residual stream, are fp32.
        device: where they are; 'meta' takes no memory.
    """

    def __init__(self, shape: tuple[int, int, int], channels: int, dtype: torch.dtype, device: str):
        self.shape = shape
        self.channels = channels
        self.hidden = 4 * channels
        self.dtype = dtype
        self.device = device

    def depthwise_conv(self) -> tuple[Tensor, ...]:
        return self._map(), self._draw(self.channels, 1, 7, 7) / 7, self._draw(self.channels)

    def depthwise_input_grad(self) -> tuple[Tensor, ...]:
        return self._map(), self._draw(self.channels, 1, 7, 7) / 7, self._residual()

    def depthwise_weight_grad(self) -> tuple[Tensor, ...]:
        return self._map(), self._map()

    def layer_norm(self) -> tuple[Tensor, ...]:
        return self._map(), self._draw(self.channels), self._draw(self.channels)

    def layer_norm_backward(self) -> tuple[Tensor, ...]:
        x, weight, bias = self.layer_norm()
        _, mean, rstd = TorchOps().layer_norm(x, weight, bias)
        return self._map(), x, mean, rstd, weight

    def linear_gelu(self) -> tuple[Tensor, ...]:
        return self._map(), *self._linear(self.channels, self.hidden)

    def linear_residual(self) -> tuple[Tensor, ...]:
        x = self._map(self.hidden)
        weight, bias = self._linear(self.hidden, self.channels)
        gamma = self._draw(self.channels)
        scale = torch.linspace(0, 1.25, self.shape[0], device=self.device).view(-1, 1, 1, 1)
        return x, weight, bias, gamma, scale, self._residual()

    def global_response_norm(self) -> tuple[Tensor, ...]:
        return self._map(self.hidden), self._draw(self.hidden), self._draw(self.hidden)

    def global_response_norm_backward(self) -> tuple[Tensor, ...]:
        return self._map(self.hidden), self._map(self.hidden), self._draw(self.hidden)

    def _draw(self, *size: int) -> Tensor:
        return torch.randn(size, device=self.device)

    def _map(self, channels: int | None = None) -> Tensor:
        return self._draw(*self.shape, channels or self.channels).to(self.dtype)

    def _residual(self) -> Tensor:
        return self._draw(*self.shape, self.channels)

    def _linear(self, inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
        weight = self._draw(outputs, inputs) * inputs**-0.5
        return weight.to(self.dtype), self._draw(outputs).to(self.dtype)


def run(ops: TorchOps, operation: str, arguments: tuple) -> tuple[Tensor, ...]:
    """All outputs of an operation, as a tuple."""
    outputs = getattr(ops, operation)(*arguments)
    if isinstance(outputs, Tensor):
        return (outputs,)
    return outputs
