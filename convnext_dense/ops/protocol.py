"""The list of operations that an implementation has to offer."""

from typing import Protocol

from torch import Tensor


class BlockOps(Protocol):
    """The operations of a ConvNeXt block, forward and backward, without autograd.

    :class:`convnext_dense.ops.TorchOps` documents each of them with formula and shapes; subclass it
    to replace some.

    Maps are contiguous with channels last: (N, H, W, C), or any (..., C) where the operation treats
    pixels independently. Outputs have the dtype of ``x`` or ``grad``, statistics and gradients
    w.r.t. parameters at least fp32. The factors of a matrix product have one dtype. No operation
    writes to its arguments.
    """

    # Pixels of the tiles in which the block passes maps to the pointwise operations; None passes
    # whole maps.
    tile_pixels: int | None

    def depthwise_conv(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor: ...

    def depthwise_input_grad(
        self, grad: Tensor, weight: Tensor, residual_grad: Tensor | None = None
    ) -> Tensor: ...

    def depthwise_weight_grad(self, grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]: ...

    def layer_norm(
        self, x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-6
    ) -> tuple[Tensor, Tensor, Tensor]: ...

    def layer_norm_backward(
        self, grad: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]: ...

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor: ...

    def linear_input_grad(self, grad: Tensor, weight: Tensor) -> Tensor: ...

    def linear_weight_grad(self, grad: Tensor, x: Tensor) -> tuple[Tensor, Tensor]: ...

    def linear_gelu(
        self, x: Tensor, weight: Tensor, bias: Tensor, keep: bool = True
    ) -> tuple[Tensor, Tensor | None]: ...

    def gelu_backward(self, grad: Tensor, hidden: Tensor) -> Tensor: ...

    def linear_residual(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        gamma: Tensor | None,
        scale: Tensor | None,
        residual: Tensor,
    ) -> Tensor: ...

    def global_response_norm(
        self, x: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-6
    ) -> Tensor: ...

    def global_response_norm_backward(
        self, grad: Tensor, x: Tensor, gamma: Tensor, eps: float = 1e-6
    ) -> tuple[Tensor, Tensor, Tensor]: ...
