"""The second half of a block, from the normalized map a to the result, with a backward pass that knows the formulas.

``gamma``'s gradient follows from pwconv2's: with P = do^T g, which is pwconv2's gradient were gamma 1, dW2 = gamma P
and dgamma = (P * W2).sum(1) + b2 * sum(do). So pwconv2's output need not be kept.
"""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from convnext_dense.layers.lean_norm import Weights
from convnext_dense.ops import functional, products


class Mlp:
    """out = residual + scale * gamma * pwconv2(grn(gelu(h))), h = weight1 @ a + bias1.

    Maps are (N, ..., C), products are in ``dtype``; gradients by weights are sums in at least fp32.

    Args:
        weight1, bias1: pwconv1's, in ``dtype``, or what stands for them.
    """

    def __init__(
        self, w: Weights, weight1: Tensor, bias1: Tensor, grn_eps: float, dtype: torch.dtype
    ):
        self.w, self.weight1, self.bias1, self.grn_eps, self.dtype = (
            w,
            weight1,
            bias1,
            grn_eps,
            dtype,
        )

    @cached_property
    def weight2(self) -> Tensor:
        return self.w.pwconv2_weight.to(self.dtype)

    def forward(
        self, a: Tensor, residual: Tensor, scale: Tensor | None, keep: bool
    ) -> tuple[Tensor, Tensor]:
        """The result, in ``residual``'s dtype, and h (N, ..., 4C), if it is to be kept, or an empty tensor."""
        g, h = functional.linear_gelu(a, self.weight1, self.bias1, keep)
        if self.w.grn_gamma is not None:
            g = self._grn(g)
        return functional.linear_residual(
            g, self.weight2, self.w.pwconv2_bias, self.w.gamma, scale, residual
        ), h

    def backward(
        self, do: Tensor, a: Tensor, h: Tensor | None, of_weights: bool
    ) -> tuple[Tensor, list, list]:
        """The gradient by a, from that by the branch, as of :meth:`round_grad`; sums over the map, if asked for.

        These are the gradients by weight1 and bias1, and what :meth:`grads` takes.
        """
        g, dh, *grn = (self._gelu_backward if self.w.grn_gamma is None else self._grn_backward)(
            do, a, h
        )
        da = products.input_grad(dh, self.weight1)
        return (
            (da, _linear_grads(dh, a), self._linear_grads2(do, g) + grn)
            if of_weights
            else (da, [], [])
        )

    def grads(self, plain: Tensor, db2: Tensor, *grn: Tensor) -> dict[str, Tensor]:
        """Gradients by the weights of pwconv2, gamma and GRN, from sums over the whole map."""
        w, grads = self.w, dict(zip(('grn_gamma', 'grn_beta'), grn))
        if w.gamma is not None:
            grads['gamma'] = (
                torch.linalg.vecdot(plain, w.pwconv2_weight.to(plain.dtype)) + db2 * w.pwconv2_bias
            )
            plain, db2 = plain.mul_(w.gamma[:, None]), db2 * w.gamma
        return grads | dict(pwconv2_weight=plain, pwconv2_bias=db2)

    def round_grad(self, do: Tensor) -> Tensor:
        """To ``dtype``, but for fp16 beside gamma: a GradScaler's factor passes its 65504 until gamma is multiplied."""
        return do if self._half else do.to(self.dtype)

    def _grn(self, g: Tensor) -> Tensor:
        return functional.global_response_norm(g, self.w.grn_gamma, self.w.grn_beta, self.grn_eps)

    def _gelu_backward(self, do: Tensor, a: Tensor, h: Tensor | None) -> tuple[Tensor, Tensor]:
        do = self._into_weight2(do)
        if h is None:
            return functional.mlp_backward(a, self.weight1, self.bias1, do, self._weight2_of_grad)
        return functional.gelu_backward(h, products.input_grad(do, self._weight2_of_grad))

    def _grn_backward(self, do: Tensor, a: Tensor, h: Tensor | None) -> tuple[Tensor, ...]:
        h = products.linear(a, self.weight1, self.bias1) if h is None else h
        g, dg = F.gelu(h), products.input_grad(self._into_weight2(do), self._weight2_of_grad)
        dg, *sums = functional.global_response_norm_backward(dg, g, self.w.grn_gamma, self.grn_eps)
        return self._grn(g), torch.ops.aten.gelu_backward(dg, h).to(dg.dtype), *sums

    @property
    def _half(self) -> bool:
        """Whether gamma must stay by itself: it starts at 1e-6, and fp16 holds gamma * do, but not gamma * W2."""
        return self.dtype == torch.float16 and self.w.gamma is not None

    @property
    def _folds(self) -> bool:
        """Whether the weight takes gamma in, not do: on GPUs, where maps are larger than weights as a rule."""
        return self.w.gamma is not None and not self._half and self.w.gamma.is_cuda

    def _into_weight2(self, do: Tensor) -> Tensor:
        return do if self._folds or self.w.gamma is None else (do * self.w.gamma).to(self.dtype)

    @cached_property
    def _weight2_of_grad(self) -> Tensor:
        return (
            (self.w.gamma[:, None] * self.w.pwconv2_weight).to(self.dtype)
            if self._folds
            else self.weight2
        )

    def _linear_grads2(self, do: Tensor, g: Tensor) -> list[Tensor]:
        """As if gamma were 1, which with a GradScaler's factor is more than fp16 can hold."""
        return _linear_grads(do.float(), g.float()) if self._half else _linear_grads(do, g)


def _linear_grads(grad: Tensor, x: Tensor) -> list[Tensor]:
    """By a linear layer's weight and bias."""
    wide = torch.promote_types(grad.dtype, torch.float32)
    return [
        products.weight_grad(grad, x).to(wide),
        grad.reshape(-1, grad.shape[-1]).sum(0, dtype=wide),
    ]
