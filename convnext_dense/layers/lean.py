"""The block as one function with a backward pass of its own, which keeps little and makes the rest again."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor

from convnext_dense.layers import lean_norm
from convnext_dense.layers.lean_mlp import Mlp
from convnext_dense.layers.lean_norm import Weights
from convnext_dense.ops import dispatch, functional

PIECE = 2048  # pixels: few enough for a CPU's caches to hold the hidden layer of the first stages' large maps
SMALL = (
    2**17
)  # elements of a CPU's map: with fewer, the lean form's many small calls cost more than it saves
WIDE = 768  # channels: with as many, it saves more in the products of the weights


class Settings(NamedTuple):
    """``low``: do not keep the hidden layer. The dtypes are the branch's and the result's."""

    norm_eps: float
    grn_eps: float
    low: bool
    dtype: torch.dtype
    result_dtype: torch.dtype


def run(x: Tensor, scale: Tensor | None, settings: Settings, weights: Weights) -> Tensor:
    """x + scale * gamma * pwconv2(grn(gelu(pwconv1(norm(dwconv(x)))))) for x (N, H, W, C), contiguous.

    Keeps x and what a form of ``lean_norm`` does, y or n (N, H, W, C) and rstd, and, unless ``low``, h (N, H, W, 4C),
    in the branch's dtype.

    Args:
        scale: drop path's factor of each sample, (N,), or None.

    Raises:
        RuntimeError: in a backward pass with ``create_graph=True``: there is no second derivative.
    """
    if torch.is_grad_enabled() and any(
        one is not None and one.requires_grad for one in (x, *weights)
    ):
        return _Block.apply(x, scale, settings, *weights)
    return _forward(x, scale, settings, weights, keep=False)[0]


def is_small(x: Tensor, packed: bool, wanted: bool) -> bool:
    """Whether 'plain' is better for ``x`` (N, C, H, W), as it is faster. On a GPU not yet measured.

    Triton's interpreter stands for a GPU; and a trace would note the comparison.

    Args:
        packed: the lean form without gradients is the packed one.
        wanted: with gradients the lean form is better whatever time it takes.
    """
    if x.device.type != 'cpu' or dispatch.interpreted() or torch.jit.is_tracing():
        return False
    if not torch.is_grad_enabled() and not packed:
        return x.numel() < 2 * SMALL
    return x.numel() < SMALL and x.shape[1] < WIDE and not (wanted and torch.is_grad_enabled())


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale, settings, *weights):
        out, hidden, *kept = _forward(x, scale, settings, Weights(*weights), keep=not settings.low)
        ctx.settings, ctx.count = settings, len(kept)
        ctx.save_for_backward(scale, *weights, *kept, *hidden)
        return out

    @staticmethod
    def backward(ctx, grad):
        if torch.is_grad_enabled() or torch._C._functorch.is_legacy_batchedtensor(grad):
            raise RuntimeError(
                "memory='default' and memory='low' have neither second derivatives (create_graph=True) "
                "nor batched ones (is_grads_batched=True): build the model with memory='plain' for them"
            )
        scale, *rest = ctx.saved_tensors
        w, rest = Weights(*rest[: len(Weights._fields)]), rest[len(Weights._fields) :]
        x, *kept, hidden = *rest[: ctx.count], rest[ctx.count :]
        of_input, of_weights = ctx.needs_input_grad[0], any(ctx.needs_input_grad[3:])
        with torch.autocast(grad.device.type, enabled=False):
            grad = grad.contiguous()
            dy, grads = _branch_backward(grad, scale, kept, hidden, ctx.settings, w, of_weights)
            if of_weights:
                dweight, grads['dwconv_bias'] = functional.depthwise_weight_grad(dy, x)
                # In the weight's own strides, of axes of one too: DistributedDataParallel warns and copies otherwise.
                grads['dwconv_weight'] = torch.empty_like(w.dwconv_weight).copy_(dweight)
            dx = functional.depthwise_input_grad(dy, w.dwconv_weight, grad) if of_input else None
        return dx, None, None, *(grads.get(name) for name in Weights._fields)


def _forward(x: Tensor, scale: Tensor | None, settings: Settings, w: Weights, keep: bool):
    """The result, h in pieces if it is to be kept, x, and what else is kept, in the branch's dtype."""
    with torch.autocast(x.device.type, enabled=False):
        residual, x = x.to(settings.result_dtype), x.to(settings.dtype)
        norm, mlp, whole = *_halves(x, settings, w), _whole(x, w)
        kept = norm.convolve(x)
        out, hidden = _Map(x.shape, whole), []
        pieces = zip(*(_pieces(one, whole) for one in kept))
        for piece, rest, factor in zip(pieces, _pieces(residual, whole), _factors(scale, x, whole)):
            y, h = mlp.forward(norm.normalize(*piece)[0], rest, factor, keep)
            out.add(y)
            hidden += [h] if keep else []
        return out.all, hidden, x, *kept


def _branch_backward(
    grad: Tensor,
    scale: Tensor | None,
    kept: list[Tensor],
    hidden: list[Tensor],
    settings: Settings,
    w: Weights,
    of_weights: bool,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Gradients by dwconv's output, and by the weights behind it."""
    norm, mlp, whole = *_halves(grad, settings, w), _whole(grad, w)
    dy, sums, sums2 = _Map(grad.shape, whole), [], []
    do = mlp.round_grad(grad if scale is None else grad * scale.view(-1, 1, 1, 1))
    for do, h, *kept in itertools.zip_longest(
        _pieces(do, whole), hidden, *(_pieces(one, whole) for one in kept)
    ):
        a, *more = norm.normalize(*kept)
        da, new, new2 = mlp.backward(do, a, h, of_weights)
        part, *new_of_norm = norm.backward(da, *kept, *more)
        dy.add(part)
        if of_weights:
            sums, sums2 = _add(sums, new + new_of_norm), _add(sums2, new2)
    return dy.all, norm.grads(*sums) | mlp.grads(*sums2) if of_weights else {}


def _halves(
    x: Tensor, settings: Settings, w: Weights
) -> tuple[lean_norm.OnMap | lean_norm.Folded, Mlp]:
    norm = lean_norm.form(x)(w, settings.norm_eps, settings.dtype)
    return norm, Mlp(w, norm.weight1, norm.bias1, settings.grn_eps, settings.dtype)


def _add(totals: list[Tensor], parts: list[Tensor]) -> list[Tensor]:
    return [total.add_(part) for total, part in zip(totals, parts)] or parts


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
