"""The block as one function with a backward pass of its own, which keeps little and makes the rest again."""
from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from convnext_dense.layers.lean_mlp import Mlp, Weights
from convnext_dense.ops import functional

PIECE = 2048  # pixels: few enough for a CPU's caches to hold the hidden layer of the first stages' large maps


class Settings(NamedTuple):
    """``low``: do not keep the hidden layer. The dtypes are the branch's and the result's."""

    norm_eps: float
    grn_eps: float
    low: bool
    dtype: torch.dtype
    result_dtype: torch.dtype


def run(x: Tensor, scale: Tensor | None, settings: Settings, weights: Weights) -> Tensor:
    """x + scale * gamma * pwconv2(grn(gelu(pwconv1(norm(dwconv(x)))))) for x (N, H, W, C), contiguous.

    Keeps x and n, (N, H, W, C), and, unless ``low``, h (N, H, W, 4C) in the branch's dtype, and rstd (N, H, W).

    Args:
        scale: drop path's factor of each sample, (N,), or None.

    Raises:
        RuntimeError: in a backward pass with ``create_graph=True``: there is no second derivative.
    """
    if torch.is_grad_enabled() and any(one is not None and one.requires_grad for one in (x, *weights)):
        return _Block.apply(x, scale, settings, *weights)
    return _forward(x, scale, settings, weights, keep=False)[0]


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, settings, *weights):
        out, hidden, *kept = _forward(x, scale, settings, Weights(*weights), keep=not settings.low)
        ctx.settings = settings
        ctx.save_for_backward(scale, *kept, *weights, *hidden)
        return out

    @staticmethod
    def backward(ctx, grad):
        if torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(grad):
            raise RuntimeError("memory='default' and memory='low' have neither second derivatives (create_graph=True) "
                               "nor batched ones (is_grads_batched=True): build the model with memory='plain' for them")
        scale, x, n, rstd, *rest = ctx.saved_tensors
        w, hidden = Weights(*rest[:len(Weights._fields)]), rest[len(Weights._fields):]
        with torch.autocast(grad.device.type, enabled=False):
            grad = grad.contiguous()
            dy, grads = _branch_backward(grad, scale, n, rstd, hidden, ctx.settings, w)
            dweight, grads['dwconv_bias'] = functional.depthwise_weight_grad(dy, x)
            # In the weight's own strides, of axes of one too: DistributedDataParallel warns and copies otherwise.
            grads['dwconv_weight'] = torch.empty_like(w.dwconv_weight).copy_(dweight)
            dx = functional.depthwise_input_grad(dy, w.dwconv_weight, grad) if ctx.needs_input_grad[0] else None
        return dx, None, None, *(grads.get(name) for name in Weights._fields)


def _forward(x: Tensor, scale: Tensor | None, settings: Settings, w: Weights, keep: bool):
    """The result, h in pieces if it is to be kept, and x, n and rstd, in the branch's dtype."""
    with torch.autocast(x.device.type, enabled=False):
        residual, x = x.to(settings.result_dtype), x.to(settings.dtype)
        n, rstd = functional.depthwise_normalize(x, w.dwconv_weight, w.dwconv_bias, settings.norm_eps)
        mlp, whole = Mlp(w, settings.grn_eps, settings.dtype), _whole(x, w)
        out, hidden = _Map(x.shape, whole), []
        for piece, rest, factor in zip(_pieces(n, whole), _pieces(residual, whole), _factors(scale, x, whole)):
            y, h = mlp.forward(piece, rest, factor, keep)
            out.add(y)
            hidden += [h] if keep else []
        return out.all, hidden, x, n, rstd


def _branch_backward(grad: Tensor, scale: Tensor | None, n: Tensor, rstd: Tensor, hidden: list[Tensor],
                     settings: Settings, w: Weights) -> tuple[Tensor, dict[str, Tensor]]:
    """Gradients by dwconv's output, and by the weights behind it."""
    mlp, whole, sums = Mlp(w, settings.grn_eps, settings.dtype), _whole(n, w), None
    dy = _Map(n.shape, whole)
    do = mlp.round_grad(grad if scale is None else grad * scale.view(-1, 1, 1, 1))
    pieces = [_pieces(one, whole) for one in (do, n, rstd.unsqueeze(-1))]
    for do, n, rstd, h in zip(*pieces, hidden or [None] * len(pieces[0])):
        dn, more = mlp.backward(do, n, h)
        dy.add(functional.normalize_backward(dn, n, rstd.squeeze(-1)))
        sums = more if sums is None else [total.add_(part) for total, part in zip(sums, more)]
    return dy.all, mlp.grads(sums)


class _Map:
    """A map of ``shape``, ``all``, that is added piece by piece; one that is whole is taken as it is."""

    def __init__(self, shape: torch.Size, whole: bool):
        self.shape, self.whole, self.all = shape, whole, None

    def add(self, piece: Tensor) -> None:
        if self.whole:
            self.all = piece
            return
        if self.all is None:
            self.all = piece.new_empty(self.shape)
            self._places = iter(_pieces(self.all, whole=False))
        next(self._places).copy_(piece)


def _whole(x: Tensor, w: Weights) -> bool:
    """Whether the map stays in one piece: on a GPU, which is slow to start, and for GRN, which sums over all of it."""
    return x.device.type != 'cpu' or w.grn_gamma is not None


def _pieces(x: Tensor, whole: bool) -> tuple[Tensor, ...]:
    return (x,) if whole else x.reshape(-1, x.shape[-1]).split(PIECE)


def _factors(scale: Tensor | None, x: Tensor, whole: bool) -> tuple[Tensor | None, ...]:
    """Drop path's factors of the samples, or of the pixels, for each of :func:`_pieces`."""
    if scale is None or whole:
        return (scale,) * max(1, -(-x[..., 0].numel() // PIECE))
    return scale.repeat_interleave(x.shape[1] * x.shape[2]).split(PIECE)
