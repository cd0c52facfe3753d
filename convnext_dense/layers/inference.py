"""The block's forward pass on a CPU, with all that depends on its weights alone computed once."""

from __future__ import annotations

import torch
from torch import Tensor

from convnext_dense.layers.lean import PIECE, Settings
from convnext_dense.layers.lean_norm import Folded, Weights
from convnext_dense.ops import functional, reference

DTYPES = (torch.float32, torch.bfloat16)
_INTEGERS = {
    torch.float32: torch.int32,
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
    torch.float64: torch.int64,
}
_POINTWISE = ([0, 0], [1, 1], [1, 1], 1)  # padding, stride, dilation, groups


def why_not(x: Tensor, dtype: torch.dtype) -> list[str]:
    """What keeps the packed form from an input (N, H, W, C) of a branch in ``dtype``; empty: it runs."""
    reasons = (
        []
        if x.device.type == 'cpu'
        else [f'weights are packed for CPUs, the input is on {x.device}']
    )
    if not torch.backends.mkldnn.is_available() or not hasattr(
        torch.ops.mkldnn, '_convolution_pointwise'
    ):
        reasons.append('this build of torch has no oneDNN')
    elif dtype not in DTYPES or (
        dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    ):
        reasons.append(f'there are no packed products of {dtype} on this CPU')
    return reasons + ([] if x.numel() else ['the input is empty'])


class Packed:
    """A block's weights with layer scale and LayerNorm's affine part multiplied in, and in oneDNN's own layouts.

    A layout is for one number of pixels; with another oneDNN would change it in each call, at several times the price
    of the product. So the weights are packed when a number comes again, and for the last ``SIZES`` numbers alone.
    """

    SIZES = 2

    def __init__(self, weights: Weights, settings: Settings):
        self._made_from = _fingerprint(weights), settings
        self.weights, self.settings = weights, settings
        norm, gamma = Folded(weights, settings.norm_eps, settings.dtype), weights.gamma
        weight2 = (
            weights.pwconv2_weight if gamma is None else gamma[:, None] * weights.pwconv2_weight
        )
        self.plain = tuple(
            one.to(settings.dtype)[:, :, None, None].contiguous() for one in (norm.weight1, weight2)
        )
        self.bias1 = norm.bias1
        self.bias2 = (weights.pwconv2_bias * (1 if gamma is None else gamma)).to(settings.dtype)
        self._packed: dict[int, tuple[Tensor, Tensor] | None] = {}

    def fits(self, weights: Weights, settings: Settings) -> bool:
        """Whether the weights are still those that were packed, to the bit: ``.data`` can be written unseen."""
        return self._made_from == (_fingerprint(weights), settings)

    def __call__(self, x: Tensor) -> Tensor:
        """As :func:`lean.run`, without drop path."""
        w, settings = self.weights, self.settings
        y = functional.depthwise_conv(x.to(settings.dtype), w.dwconv_weight, w.dwconv_bias)
        out = (
            y
            if settings.result_dtype == settings.dtype
            else torch.empty_like(x, dtype=settings.result_dtype)
        )
        ones = reference.make_ones(y)
        rows = PIECE if w.grn_gamma is None else y[..., 0].numel()
        for y, rest, place in zip(*(one.view(-1, x.shape[-1]).split(rows) for one in (y, x, out))):
            n = torch.native_layer_norm(y, y.shape[-1:], ones, None, settings.norm_eps)[0]
            self._add_mlp(
                place.copy_(rest), n, x.shape
            )  # y is not needed any more: its memory is the result's
        return out

    def _add_mlp(self, out: Tensor, n: Tensor, shape: torch.Size) -> None:
        weight1, weight2 = self._get_weights(len(n))
        g = torch.ops.mkldnn._convolution_pointwise(
            _map(n), weight1, self.bias1, *_POINTWISE, 'gelu', [], 'none'
        )
        if self.weights.grn_gamma is not None:
            g = functional.global_response_norm(
                g.permute(0, 2, 3, 1).view(*shape[:-1], -1),
                self.weights.grn_gamma,
                self.weights.grn_beta,
                self.settings.grn_eps,
            )
            g = _map(g.view(-1, g.shape[-1]))
        if out.dtype == g.dtype:
            torch.ops.mkldnn._convolution_pointwise_.binary(
                _map(out), g, weight2, self.bias2, *_POINTWISE, 'add', 1, None, [], None
            )
        else:
            y = torch.ops.mkldnn._convolution_pointwise(
                g, weight2, self.bias2, *_POINTWISE, 'none', [], ''
            )
            out += y.permute(0, 2, 3, 1).view(out.shape)

    def _get_weights(self, rows: int) -> tuple[Tensor, Tensor]:
        """Both products' weights for so many pixels: plain the first time, packed from the second on."""
        first = rows not in self._packed
        packed = self._packed.pop(rows, None)
        if not first and packed is None:
            packed = tuple(_pack(one, rows) for one in self.plain)
        self._packed[rows] = packed  # at the end: the oldest comes first
        if len(self._packed) > self.SIZES:
            del self._packed[next(iter(self._packed))]
        return packed or self.plain


def _map(rows: Tensor) -> Tensor:
    """Rows (M, C) as a channels-last map (1, C, 1, M)."""
    return rows.view(1, 1, *rows.shape).permute(0, 3, 1, 2)


def _pack(weight: Tensor, rows: int) -> Tensor:
    return torch.ops.mkldnn._reorder_convolution_weight(
        weight.detach(), *_POINTWISE, [1, weight.shape[1], 1, rows]
    )


def _fingerprint(weights: Weights) -> tuple:
    return tuple(_bits(one) for one in weights if one is not None)


def _bits(weight: Tensor) -> tuple:
    """Place, dtype, count of changes, and the bits as integers: all of them, or of a matrix each row's sum."""
    bits = weight.detach().view(_INTEGERS[weight.dtype])
    if bits.dim() == 2:  # any one element's change changes its row's sum
        whole = 8 // bits.element_size()
        if (
            bits.shape[1] % whole == 0
        ):  # in words of 64 bits no change of all signs or exponents at once cancels
            bits = (
                (bits.clone() if bits.storage_offset() % whole else bits)
                .contiguous()
                .view(torch.int64)
            )
        bits = bits.sum(1, dtype=bits.dtype)
    version = None if weight.is_inference() else weight._version
    return weight.data_ptr(), weight.dtype, version, bits.numpy().tobytes()
