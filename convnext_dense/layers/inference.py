"""The block's forward pass on a CPU, with all that depends on its weights alone computed once."""
from __future__ import annotations

import torch
from torch import Tensor

from convnext_dense.layers.lean import PIECE, Settings
from convnext_dense.layers.lean_mlp import Mlp, Weights
from convnext_dense.ops import functional

DTYPES = (torch.float32, torch.bfloat16)
_INTEGERS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16,
             torch.float64: torch.int64}
_POINTWISE = ([0, 0], [1, 1], [1, 1], 1)  # padding, stride, dilation, groups


def why_not(x: Tensor, dtype: torch.dtype) -> list[str]:
    """What keeps the packed form from an input (N, H, W, C) of a branch in ``dtype``; empty: it runs."""
    reasons = [] if x.device.type == 'cpu' else [f'weights are packed for CPUs, the input is on {x.device}']
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, '_convolution_pointwise'):
        reasons.append('this build of torch has no oneDNN')
    elif dtype not in DTYPES or (dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported()):
        reasons.append(f'there are no packed products of {dtype} on this CPU')
    return reasons + ([] if x.numel() else ['the input is empty'])


class Packed:
    """A block's weights in oneDNN's own layouts, layer scale and LayerNorm's affine part multiplied in.

    Raises:
        RuntimeError: from oneDNN, which has no such product for the dtype on this CPU.
    """

    def __init__(self, weights: Weights, settings: Settings):
        self._made_from = _fingerprint(weights), settings
        self.weights, self.settings = weights, settings
        channels, mlp = len(weights.norm_weight), Mlp(weights, settings.grn_eps, settings.dtype)
        gamma = 1 if weights.gamma is None else weights.gamma
        weight2 = (weights.pwconv2_weight.t() * gamma).t()
        self.dwconv = _pack(weights.dwconv_weight.to(settings.dtype), [3, 3], channels)
        self.pwconv1 = _pack(mlp.weight1[:, :, None, None], [0, 0], 1)
        self.pwconv2 = _pack(weight2.to(settings.dtype)[:, :, None, None], [0, 0], 1)
        self.bias, self.bias1 = weights.dwconv_bias.to(settings.dtype), mlp.bias1
        self.bias2 = (weights.pwconv2_bias * gamma).to(settings.dtype)

    def fits(self, weights: Weights, settings: Settings) -> bool:
        """Whether the weights are still those that were packed, to the bit: ``.data`` can be written unseen."""
        return self._made_from == (_fingerprint(weights), settings)

    def __call__(self, x: Tensor) -> Tensor:
        """As :func:`lean.run`, without drop path."""
        out, inner = x.to(self.settings.result_dtype, copy=True), x.to(self.settings.dtype)
        n = _convolution(inner.permute(0, 3, 1, 2), self.dwconv, self.bias, [3, 3], x.shape[-1]).permute(0, 2, 3, 1)
        ones = n.new_ones(n.shape[-1], dtype=torch.float32)  # none would do, but takes torch twice as long
        n = torch.native_layer_norm(n, n.shape[-1:], ones, None, self.settings.norm_eps)[0]
        rows = out[..., 0].numel() if self.weights.grn_gamma is not None else PIECE
        for rest, piece in zip(out.view(-1, x.shape[-1]).split(rows), n.view(-1, x.shape[-1]).split(rows)):
            self._add_mlp(rest, piece, x.shape)
        return out

    def _add_mlp(self, out: Tensor, n: Tensor, shape: torch.Size) -> None:
        g = _convolution(_map(n), self.pwconv1, self.bias1, [0, 0], 1, 'gelu', 'none')
        if self.weights.grn_gamma is not None:
            g = functional.global_response_norm(g.permute(0, 2, 3, 1).view(*shape[:-1], -1), self.weights.grn_gamma,
                                                self.weights.grn_beta, self.settings.grn_eps)
            g = _map(g.view(-1, g.shape[-1]))
        if out.dtype == g.dtype:
            torch.ops.mkldnn._convolution_pointwise_.binary(
                _map(out), g, self.pwconv2, self.bias2, *_POINTWISE, 'add', 1, None, [], None)
        else:
            out += _convolution(g, self.pwconv2, self.bias2, [0, 0], 1).permute(0, 2, 3, 1).view(out.shape)


def _convolution(x: Tensor, weight: Tensor, bias: Tensor, padding: list[int], groups: int, activation: str = 'none',
                 algorithm: str = '') -> Tensor:
    return torch.ops.mkldnn._convolution_pointwise(x, weight, bias, padding, [1, 1], [1, 1], groups, activation, [],
                                                   algorithm)


def _map(rows: Tensor) -> Tensor:
    """Rows (M, C) as a channels-last map (1, C, 1, M)."""
    return rows.view(1, 1, *rows.shape).permute(0, 3, 1, 2)


def _pack(weight: Tensor, padding: list[int], groups: int) -> Tensor:
    shape = [1, weight.shape[1] * groups, 1, PIECE] if groups == 1 else [1, groups, 64, 64]
    return torch.ops.mkldnn._reorder_convolution_weight(weight.detach().contiguous(), padding, [1, 1], [1, 1], groups,
                                                        shape)


def _fingerprint(weights: Weights) -> tuple:
    return tuple(_bits(one) for one in weights if one is not None)


def _bits(weight: Tensor) -> tuple:
    """Place, dtype, count of changes, and the bits as integers: all of them, or of a matrix each row's sum."""
    bits = weight.detach().view(_INTEGERS[weight.dtype])
    if bits.dim() == 2:  # any one element's change changes its row's sum; no more is read than once
        bits = bits.sum(1, dtype=bits.dtype)
    version = None if weight.is_inference() else weight._version
    return weight.data_ptr(), weight.dtype, version, bits.numpy().tobytes()
