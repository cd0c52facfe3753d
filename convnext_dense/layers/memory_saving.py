"""The block as an autograd function that keeps little and recomputes the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from convnext_dense.layers import torch_private
from convnext_dense.ops import get_ops


class BlockParameters(NamedTuple):
    """The parameters of a block: without GRN, or without layer scale, those are None."""

    dwconv_weight: Tensor
    dwconv_bias: Tensor
    norm_weight: Tensor
    norm_bias: Tensor
    pwconv1_weight: Tensor
    pwconv1_bias: Tensor
    grn_gamma: Tensor | None
    grn_beta: Tensor | None
    pwconv2_weight: Tensor
    pwconv2_bias: Tensor
    gamma: Tensor | None


class BlockSettings(NamedTuple):
    """All else that a pass through a block depends on.

    Args:
        norm_eps: epsilon of LayerNorm.
        grn_eps: epsilon of GRN.
        dtype: dtype of the branch.
        result_dtype: dtype of the block's result.
        keep_hidden: keep the hidden layer for the backward pass.
    """

    norm_eps: float
    grn_eps: float
    dtype: torch.dtype
    result_dtype: torch.dtype
    keep_hidden: bool


def run_memory_saving(
    x: Tensor, scale: Tensor | None, settings: BlockSettings, parameters: BlockParameters
) -> Tensor:
    """The block's result for a contiguous map; :class:`MemorySavingBlock` gives the formulas.

    Args:
        x: (N, H, W, C), contiguous.
        scale: drop path's factor of each sample, (N, 1, 1, 1), or None for 1.
        settings: epsilons, dtypes and whether to keep the hidden layer.
        parameters: of the block.

    Returns:
        (N, H, W, C) in ``settings.result_dtype``.
    """
    if torch.is_grad_enabled() and _requires_grad(x, *parameters):
        return MemorySavingBlock.apply(x, scale, settings, *parameters)
    out, *_ = _forward(x, scale, settings._replace(keep_hidden=False), parameters)
    return out


class MemorySavingBlock(torch.autograd.Function):
    """A ConvNeXt block that keeps x, y and (in memory mode 'half') h for its backward pass.

    Forward::

        y = dwconv(x)
        a = norm(y)
        h = W1 a + b1
        g = gelu(h);  r = grn(g) in V2, g in V1
        out = x + scale * gamma * (W2 r + b2)

    Backward, where do is the gradient w.r.t. ``gamma * (W2 r + b2)``, and so on::

        do = scale * dout
        dr = W2^T (gamma * do)
        dg = grn'(dr) in V2, dr in V1;  dh = gelu'(h) * dg
        da = W1^T dh
        dy = norm'(da)
        dx = dout + dwconv'(dy)

    Gradients w.r.t. parameters, with sums over all pixels::

        P = sum do r^T;  s = sum do
        dgamma = sum_k (P * W2)_ck + b2 * s;  dW2 = gamma * P;  db2 = gamma * s
        dW1 = sum dh a^T;  db1 = sum dh

    The derivatives norm', grn' and dwconv' are in ``ops/torch_ops.py``.

    dgamma follows from P, so the output of W2 is not kept. LayerNorm and GELU are recomputed. Where
    the device's operations ask for it, everything between y and dy runs over tiles of pixels,
    except with GRN, which needs whole maps.

    Source: arXiv:2201.03545 figure 4, arXiv:2301.00808 figure 5; the backward pass is derived from
    them.
    """

    @staticmethod
    def forward(ctx, x, scale, settings, *parameters):
        out, branch_x, y, hidden = _forward(x, scale, settings, BlockParameters(*parameters))
        ctx.settings = settings
        ctx.save_for_backward(branch_x, y, scale, *parameters, *hidden)
        return out

    @staticmethod
    def backward(ctx, dout):
        if torch.is_grad_enabled() or torch_private.is_batched(dout):
            raise RuntimeError(
                "memory='half' and memory='low' have neither second derivatives "
                '(create_graph=True) nor batched ones (is_grads_batched=True): build the model '
                "with memory='full' for them"
            )
        x, y, scale, *rest = ctx.saved_tensors
        w = BlockParameters(*rest[: len(BlockParameters._fields)])
        hidden = rest[len(BlockParameters._fields) :]
        needs_x = ctx.needs_input_grad[0]
        needs_parameters = any(ctx.needs_input_grad[3:])

        ops = get_ops(dout.device)
        dx = None
        grads: dict[str, Tensor] = {}
        with torch.autocast(dout.device.type, enabled=False):
            dout = dout.contiguous()
            layers = _PointwiseLayers(w, ctx.settings, hidden, needs_parameters)
            dy = _in_tiles(layers.backward, layers.tile_pixels, dout, y, scale)  # (N, H, W, C)
            if needs_parameters:
                grads = layers.parameter_grads()
                dweight, grads['dwconv_bias'] = ops.depthwise_weight_grad(dy, x)
                # In the strides of the weight, also of its axis of length 1: where they differ,
                # DistributedDataParallel copies and warns.
                grads['dwconv_weight'] = torch.empty_like(w.dwconv_weight).copy_(dweight)
            if needs_x:
                dx = ops.depthwise_input_grad(dy, w.dwconv_weight, dout)  # (N, H, W, C)
        return dx, None, None, *[grads.get(name) for name in BlockParameters._fields]


def _forward(
    x: Tensor, scale: Tensor | None, settings: BlockSettings, w: BlockParameters
) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
    """The result, and what the backward pass needs: x, y and the tiles of h."""
    with torch.autocast(x.device.type, enabled=False):
        residual = x.to(settings.result_dtype)
        branch_x = x.to(settings.dtype)
        ops = get_ops(x.device)
        y = ops.depthwise_conv(branch_x, w.dwconv_weight, w.dwconv_bias)  # (N, H, W, C)
        layers = _PointwiseLayers(w, settings, [], needs_parameters=False)
        out = _in_tiles(layers.forward, layers.tile_pixels, residual, y, scale)  # (N, H, W, C)
    return out, branch_x, y, layers.hidden


class _PointwiseLayers:
    """The block from y to its result, on a tile of M pixels.

    Whole maps are passed as (N, H, W, ...) instead of (M, ...).

    Args:
        w: the block's parameters.
        settings: the block's settings.
        hidden: the tiles of h: those that the forward pass kept, or an empty list for it to fill.
        needs_parameters: compute gradients w.r.t. the parameters in the backward pass.
    """

    def __init__(
        self,
        w: BlockParameters,
        settings: BlockSettings,
        hidden: list[Tensor],
        needs_parameters: bool,
    ):
        self.w = w
        self.settings = settings
        self.hidden = hidden
        self.needs_parameters = needs_parameters
        self.ops = get_ops(w.pwconv1_weight.device)
        self.tile_pixels = self.ops.tile_pixels if w.grn_gamma is None else None
        self.weight1 = w.pwconv1_weight.to(settings.dtype)
        self.bias1 = w.pwconv1_bias.to(settings.dtype)
        self.weight2 = w.pwconv2_weight.to(settings.dtype)
        self.bias2 = w.pwconv2_bias.to(settings.dtype)
        self.sums: dict[str, Tensor] = {}

    def forward(self, index: int, residual: Tensor, y: Tensor, scale: Tensor | None) -> Tensor:
        """Add the branch to ``residual``; append h to ``hidden`` if the settings say so."""
        ops, w, settings = self.ops, self.w, self.settings
        a, _, _ = ops.layer_norm(y, w.norm_weight, w.norm_bias, settings.norm_eps)  # (M, C)
        r, h = ops.linear_gelu(a, self.weight1, self.bias1, settings.keep_hidden)  # (M, 4C) each
        if h is not None:
            self.hidden.append(h)
        if w.grn_gamma is not None and w.grn_beta is not None:
            r = ops.global_response_norm(r, w.grn_gamma, w.grn_beta, settings.grn_eps)
        return ops.linear_residual(r, self.weight2, self.bias2, w.gamma, scale, residual)  # (M, C)

    def backward(self, index: int, dout: Tensor, y: Tensor, scale: Tensor | None) -> Tensor:
        """The gradient w.r.t. y; adds to ``sums`` if gradients w.r.t. parameters are needed."""
        ops, w, settings = self.ops, self.w, self.settings
        a, mean, rstd = ops.layer_norm(y, w.norm_weight, w.norm_bias, settings.norm_eps)  # (M, C)
        h = self._hidden_layer(index, a)  # (M, 4C)
        r = g = F.gelu(h)  # (M, 4C)

        do = self._scaled(dout, scale)  # (M, C)
        dr = ops.linear_input_grad(self._times_gamma(do), self.weight2)  # (M, 4C)
        dg = dr
        if w.grn_gamma is not None and w.grn_beta is not None:
            r = ops.global_response_norm(g, w.grn_gamma, w.grn_beta, settings.grn_eps)
            dg, *grn_grads = ops.global_response_norm_backward(dr, g, w.grn_gamma, settings.grn_eps)
            if self.needs_parameters:
                self._add(['grn_gamma', 'grn_beta'], grn_grads)
        if self.needs_parameters:
            # P and s of the formulas
            p_and_s = ops.linear_weight_grad(do, r.to(do.dtype))  # (C, 4C), (C,)
            self._add(['pwconv2_weight', 'pwconv2_bias'], p_and_s)
        dh = ops.gelu_backward(dg, h)  # (M, 4C)
        da = ops.linear_input_grad(dh, self.weight1)  # (M, C)
        dy, *norm_grads = ops.layer_norm_backward(da, y, mean, rstd, w.norm_weight)  # (M, C)
        if self.needs_parameters:
            self._add(['pwconv1_weight', 'pwconv1_bias'], ops.linear_weight_grad(dh, a))
            self._add(['norm_weight', 'norm_bias'], norm_grads)
        return dy

    def parameter_grads(self) -> dict[str, Tensor]:
        """Gradients w.r.t. the parameters of the pointwise layers, from the sums over all tiles."""
        w = self.w
        grads = dict(self.sums)
        if w.gamma is not None:
            p = self.sums['pwconv2_weight']  # (C, 4C)
            s = self.sums['pwconv2_bias']  # (C,)
            p_times_weight = torch.linalg.vecdot(p, w.pwconv2_weight.to(p.dtype))  # (C,)
            grads['gamma'] = p_times_weight + w.pwconv2_bias * s  # (C,)
            grads['pwconv2_weight'] = p.mul_(w.gamma[:, None])  # (C, 4C)
            grads['pwconv2_bias'] = w.gamma * s  # (C,)
        return grads

    def _hidden_layer(self, index: int, a: Tensor) -> Tensor:
        """The hidden layer h (M, 4C) of a tile, kept or recomputed."""
        if self.settings.keep_hidden:
            return self.hidden[index]
        return self.ops.linear(a, self.weight1, self.bias1)

    def _scaled(self, dout: Tensor, scale: Tensor | None) -> Tensor:
        """The product scale * dout, in the dtype for the sum P."""
        if scale is not None:
            dout = dout * scale
        # A GradScaler multiplies dout by up to 2^16, and P is not yet multiplied by gamma: it can
        # exceed 65504 in fp16.
        if self.settings.dtype == torch.float16 and self.w.gamma is not None:
            return dout.to(torch.float32)
        return dout.to(self.settings.dtype)

    def _times_gamma(self, do: Tensor) -> Tensor:
        if self.w.gamma is None:
            return do
        return (do * self.w.gamma).to(self.settings.dtype)

    def _add(self, names: Sequence[str], parts: Sequence[Tensor]) -> None:
        """Add a tile's part to each named sum."""
        for name, part in zip(names, parts, strict=True):
            if name in self.sums:
                self.sums[name].add_(part)
            else:
                self.sums[name] = part


def _in_tiles(
    function: Callable[..., Tensor], size: int | None, first: Tensor, *others: Tensor | None
) -> Tensor:
    """Call ``function`` on tiles of the maps and join the maps that it returns.

    Args:
        function: takes the tile's index and a tile (M, C) of each map, and returns a tile (M, C).
        size: M, pixels of a tile. None, or at least as many as the map has, passes whole maps.
        first: (N, H, W, C).
        others: more maps, which broadcast to the pixels of ``first``; None is passed on as it is.

    Returns:
        (N, H, W, C).
    """
    shape = first.shape
    pixels = shape[:-1].numel()
    if size is None or pixels <= size:
        return function(0, first, *others)
    rows: list[Tensor | None] = []  # (N * H * W, ...) of each map
    for m in (first, *others):
        rows.append(None if m is None else m.expand(*shape[:-1], -1).reshape(pixels, -1))
    joined = torch.empty(0)
    for index, start in enumerate(range(0, pixels, size)):
        tile = function(index, *[m if m is None else m[start : start + size] for m in rows])
        if index == 0:
            joined = tile.new_empty(pixels, tile.shape[-1])  # only now its dtype is known
        joined[start : start + size] = tile
    return joined.view(*shape[:-1], -1)


def _requires_grad(*tensors: Tensor | None) -> bool:
    return any(tensor is not None and tensor.requires_grad for tensor in tensors)
