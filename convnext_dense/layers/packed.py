"""The block's forward pass on a CPU with weights that are folded and packed once."""

from __future__ import annotations

import torch
from torch import Tensor

from convnext_dense.layers import torch_private
from convnext_dense.layers.memory_saving import BlockParameters, BlockSettings
from convnext_dense.ops import CpuOps, get_ops

_INTEGERS = {
    torch.float32: torch.int32,
    torch.bfloat16: torch.int16,
    torch.float16: torch.int16,
}


class PackedBlock:
    """A block with LayerNorm's affine part and layer scale folded into the pointwise layers.

    ::

        n = (y - mean) / std,  y = dwconv(x)
        g = grn(gelu(W1' n + b1'))         W1' = W1 * norm_weight,  b1' = b1 + W1 norm_bias
        out = x + W2' g + b2'              W2' = gamma * W2,        b2' = gamma * b2

    oneDNN packs a weight for one number of pixels and would repack it in each call for another,
    which costs several times the product. So weights are packed when a number of pixels comes for
    the second time, and kept for the last two numbers. Takes no drop path.
    """

    KEPT_SIZES = 2

    def __init__(self, parameters: BlockParameters, settings: BlockSettings):
        w, dtype = parameters, settings.dtype
        self._made_from = (_fingerprint(w), settings)
        self._parameters = w
        self._settings = settings
        weight1 = w.pwconv1_weight * w.norm_weight
        bias1 = torch.addmv(w.pwconv1_bias, w.pwconv1_weight, w.norm_bias)
        weight2 = w.pwconv2_weight
        bias2 = w.pwconv2_bias
        if w.gamma is not None:
            weight2 = w.gamma[:, None] * weight2
            bias2 = w.gamma * bias2
        self._weight1 = _as_kernel(weight1.to(dtype))
        self._weight2 = _as_kernel(weight2.to(dtype))
        self._bias1 = bias1.to(dtype)
        self._bias2 = bias2.to(dtype)
        # A weight of ones: without one, LayerNorm runs a slower loop on CPUs.
        self._ones = torch.ones_like(w.norm_weight, dtype=torch.float32)
        # Pixels of a tile -> both weights, packed; None after the first time.
        self._packed: dict[int, tuple[Tensor, Tensor] | None] = {}

    def fits(self, parameters: BlockParameters, settings: BlockSettings) -> bool:
        """Whether parameters and settings are those that this block was made from.

        The bits of the parameters are compared, of matrices by the sum of each row, because
        ``.data`` can be written without any trace.
        """
        return self._made_from == (_fingerprint(parameters), settings)

    def __call__(self, x: Tensor) -> Tensor:
        """The block's result for a contiguous map, both (N, H, W, C)."""
        w, settings = self._parameters, self._settings
        y = get_ops(x.device).depthwise_conv(
            x.to(settings.dtype), w.dwconv_weight, w.dwconv_bias
        )  # (N, H, W, C)
        if settings.result_dtype == settings.dtype:
            out = y  # each tile of y is read before the result is written to its place
        else:
            out = torch.empty_like(x, dtype=settings.result_dtype)
        tile_pixels = CpuOps.tile_pixels
        if w.grn_gamma is not None:
            tile_pixels = y[..., 0].numel()  # GRN needs whole maps
        tiles = [m.view(-1, m.shape[-1]).split(tile_pixels) for m in (y, x, out)]
        for y_tile, x_tile, out_tile in zip(*tiles, strict=True):
            n, _, _ = torch.native_layer_norm(
                y_tile, y_tile.shape[-1:], self._ones, None, settings.norm_eps
            )  # (M, C)
            out_tile.copy_(x_tile)
            self._add_branch(out_tile, n, x.shape)
        return out

    def _add_branch(self, out: Tensor, n: Tensor, shape: torch.Size) -> None:
        """Add W2' grn(gelu(W1' n + b1')) + b2' to ``out``; M pixels of a map of ``shape``."""
        w = self._parameters
        weight1, weight2 = self._weights_for(len(n))
        g = torch_private.packed_linear_gelu(_as_map(n), weight1, self._bias1)  # (1, 4C, 1, M)
        if w.grn_gamma is not None and w.grn_beta is not None:
            whole = _as_rows(g).view(*shape[:-1], -1)  # (N, H, W, 4C)
            whole = get_ops(g.device).global_response_norm(
                whole, w.grn_gamma, w.grn_beta, self._settings.grn_eps
            )
            g = _as_map(whole.view(-1, whole.shape[-1]))  # (1, 4C, 1, M)
        if out.dtype == g.dtype:
            torch_private.packed_linear_add_(_as_map(out), g, weight2, self._bias2)
        else:
            out += _as_rows(torch_private.packed_linear(g, weight2, self._bias2))

    def _weights_for(self, pixels: int) -> tuple[Tensor, Tensor]:
        """Both weights for so many pixels: plain the first time, packed from the second on."""
        plain = (self._weight1, self._weight2)
        if pixels not in self._packed:
            self._packed[pixels] = None
            weights = plain
        else:
            # Taken out and put back: the dict's last key is the one that was used last.
            weights = self._packed.pop(pixels) or (
                torch_private.pack_weight(self._weight1, pixels),
                torch_private.pack_weight(self._weight2, pixels),
            )
            self._packed[pixels] = weights
        if len(self._packed) > self.KEPT_SIZES:
            oldest = next(iter(self._packed))
            del self._packed[oldest]
        return weights


def _as_kernel(weight: Tensor) -> Tensor:
    return weight[:, :, None, None].contiguous()


def _as_map(rows: Tensor) -> Tensor:
    """Rows (M, C) as a channels-last map (1, C, 1, M)."""
    return rows.view(1, 1, *rows.shape).permute(0, 3, 1, 2)


def _as_rows(x: Tensor) -> Tensor:
    """A channels-last map (1, C, 1, M) as rows (M, C)."""
    return x.permute(0, 2, 3, 1).view(-1, x.shape[1])


def _fingerprint(parameters: BlockParameters) -> tuple:
    """What changes when a parameter does."""
    return tuple(_bits(parameter) for parameter in parameters if parameter is not None)


def _bits(parameter: Tensor) -> tuple:
    """Address, dtype, count of changes, and the bits as integers; of a matrix one sum for each row.

    A change of one element changes the sum of its row. Not detected: writing through ``.data``
    what keeps the sum of every row, such as a permutation within a row.
    """
    bits = parameter.detach().view(_INTEGERS[parameter.dtype])
    if bits.dim() == 2:
        # Words of 64 bits, where the row length allows them: with shorter ones, an even number of
        # flipped signs in a row would cancel.
        per_word = 8 // bits.element_size()
        if bits.shape[1] % per_word == 0:
            if bits.storage_offset() % per_word != 0:
                bits = bits.clone()
            bits = bits.contiguous().view(torch.int64)
        bits = bits.sum(1, dtype=bits.dtype)
    version = torch_private.version_of(parameter)
    return parameter.data_ptr(), parameter.dtype, version, bits.numpy().tobytes()
