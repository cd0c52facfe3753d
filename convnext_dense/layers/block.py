"""The ConvNeXt block, V1 and V2."""

from __future__ import annotations

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from convnext_dense.layers import path
from convnext_dense.layers.memory_saving import (
    BlockParameters,
    BlockSettings,
    run_memory_saving,
)
from convnext_dense.layers.norm import GlobalResponseNorm
from convnext_dense.layers.packed import PackedBlock

MEMORY_MODES = ('auto', 'full', 'half', 'low')
RESIDUAL_DTYPES = {
    'float32': torch.float32,
    'bfloat16': torch.bfloat16,
    'float16': torch.float16,
}


class ConvNeXtBlock(nn.Module):
    """Residual block at constant size: (N, C, H, W) -> (N, C, H, W).

    ::

        y = pwconv2(grn(gelu(pwconv1(norm(dwconv(x))))))
        out = x + drop_path(gamma * y)

    ``dwconv`` is 7x7 with one filter for each channel, ``pwconv1`` maps C -> 4C, ``pwconv2`` 4C ->
    C. V1 has ``gamma`` (layer scale) and no ``grn``; V2 has ``grn`` and no ``gamma``.

    Args:
        dim: channels C.
        drop_path: probability in [0, 1) of dropping a sample's branch while training.
        layer_scale_init_value: initial ``gamma``; 0 builds no layer scale.
        use_grn: build ``grn``.
        norm_eps: epsilon of ``norm``.
        dilation: distance of the 49 taps of ``dwconv`` in pixels of the map.
        memory: memory mode, what is kept for the backward pass: 'full' is what autograd keeps;
            'half' the input, one more map and the hidden layer; 'low' the input and one more map,
            the hidden layer is recomputed; 'auto' is 'half', except for small maps on a CPU, where
            'full' is faster. Outputs and gradients are the same up to rounding. Some blocks always
            fall back to 'full', for instance dilated or compiled ones; :meth:`why_full` gives the
            reasons.
        residual_dtype: dtype of the result under autocast: 'float32', 'bfloat16', 'float16' or the
            torch.dtype. None is torch's promotion, fp32 where there is ``gamma``.

    Raises:
        ValueError: ``memory`` or ``residual_dtype`` is not one of these values.

    Source: arXiv:2201.03545 figure 4, arXiv:2301.00808 figure 5; facebookresearch/ConvNeXt
    models/convnext.py:Block @ 048efce; facebookresearch/ConvNeXt-V2 models/convnextv2.py:Block @
    2553895.
    """

    def __init__(
        self,
        dim: int,
        *,
        drop_path: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        use_grn: bool = False,
        norm_eps: float = 1e-6,
        dilation: int = 1,
        memory: str = 'auto',
        residual_dtype: str | torch.dtype | None = None,
    ):
        super().__init__()
        if memory not in MEMORY_MODES:
            raise ValueError(f"memory must be 'auto', 'full', 'half' or 'low'; got {memory!r}")
        if residual_dtype not in (None, *RESIDUAL_DTYPES, *RESIDUAL_DTYPES.values()):
            raise ValueError(
                "residual_dtype must be None (torch's promotion), 'float32', 'bfloat16' or "
                f"'float16'; got {residual_dtype!r}"
            )
        self.memory = memory
        self.residual_dtype = (
            RESIDUAL_DTYPES[residual_dtype] if isinstance(residual_dtype, str) else residual_dtype
        )
        self.optimized = False
        self._packed: PackedBlock | None = None
        self.dwconv = nn.Conv2d(
            dim, dim, kernel_size=7, padding=3 * dilation, dilation=dilation, groups=dim
        )
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.grn = GlobalResponseNorm(4 * dim) if use_grn else None
        self.pwconv2 = nn.Linear(4 * dim, dim)
        gamma = torch.full((dim,), float(layer_scale_init_value))
        self.gamma = nn.Parameter(gamma) if layer_scale_init_value > 0 else None
        # The stride of an axis of length 1 is arbitrary. This is the one that gradients of
        # channels-last maps have; DistributedDataParallel copies and warns where the strides of
        # weight and gradient differ.
        self.dwconv.weight = nn.Parameter(
            self.dwconv.weight.detach().as_strided((dim, 1, 7, 7), (49, 1, 7, 1))
        )
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        autocast = path.autocast_dtype(x)
        chosen = path.choose_path(self, x, autocast)
        if chosen == 'full':
            out = self._forward_full(x)
            if autocast is not None and self.residual_dtype is not None:
                out = out.to(self.residual_dtype)
            return out
        map_nhwc = x.permute(0, 2, 3, 1).contiguous()  # (N, H, W, C)
        parameters = self.parameters_by_name()
        settings = self._settings(x, autocast)
        if chosen == 'packed':
            out = self._packed_for(parameters, settings)(map_nhwc)
        else:
            out = run_memory_saving(map_nhwc, self._drop_path_scale(x), settings, parameters)
        return out.permute(0, 3, 1, 2)  # (N, C, H, W), channels-last strides

    def _forward_full(self, x: Tensor) -> Tensor:
        y = self.dwconv(x)  # (N, C, H, W)
        y = y.permute(0, 2, 3, 1)  # (N, H, W, C)
        y = self.pwconv1(self.norm(y))  # (N, H, W, 4C)
        y = F.gelu(y)  # the exact GELU (erf), as the authors
        if self.grn is not None:
            y = self.grn(y)
        y = self.pwconv2(y)  # (N, H, W, C)
        if self.gamma is not None:
            y = self.gamma * y
        y = y.permute(0, 3, 1, 2)  # (N, C, H, W), channels-last strides
        return x + self.drop_path(y)

    def why_full(self, x: Tensor) -> list[str]:
        """The reasons why the block would fall back to 'full' for ``x``; empty if it would not.

        The answer depends on the context: it may differ under ``torch.no_grad()`` or autocast.
        """
        return list(path.why_full(self, x, path.autocast_dtype(x)))

    def parameters_by_name(self) -> BlockParameters:
        """The parameters in the block's formula; None for those that the block does not have."""
        return BlockParameters(
            dwconv_weight=self.dwconv.weight,
            dwconv_bias=self.dwconv.bias,  # type: ignore[arg-type]  # None is refused in path.py
            norm_weight=self.norm.weight,
            norm_bias=self.norm.bias,
            pwconv1_weight=self.pwconv1.weight,
            pwconv1_bias=self.pwconv1.bias,
            grn_gamma=None if self.grn is None else self.grn.gamma,
            grn_beta=None if self.grn is None else self.grn.beta,
            pwconv2_weight=self.pwconv2.weight,
            pwconv2_bias=self.pwconv2.bias,
            gamma=self.gamma,
        )

    def _settings(self, x: Tensor, autocast: torch.dtype | None) -> BlockSettings:
        dtype = autocast or x.dtype
        if autocast is not None and self.residual_dtype is not None:
            result_dtype = self.residual_dtype
        else:
            # As torch promotes x + gamma * y.
            branch_dtype = dtype if self.gamma is None else self.gamma.dtype
            result_dtype = torch.promote_types(x.dtype, branch_dtype)
        return BlockSettings(
            norm_eps=self.norm.eps,
            grn_eps=0.0 if self.grn is None else self.grn.eps,
            dtype=dtype,
            result_dtype=result_dtype,
            keep_hidden=self.memory != 'low',
        )

    def _drop_path_scale(self, x: Tensor) -> Tensor | None:
        """Each sample's factor (N, 1, 1, 1), 0 or 1 / (1 - p), as timm draws it for the branch."""
        if not self.drop_path.training or not isinstance(self.drop_path, DropPath):
            return None
        # Not in half precision, which would round 1 / (1 - p) for all samples alike.
        dtype = torch.promote_types(x.dtype, torch.float32)
        return self.drop_path(torch.ones(len(x), 1, 1, 1, dtype=dtype, device=x.device))

    def _packed_for(self, parameters: BlockParameters, settings: BlockSettings) -> PackedBlock:
        if self._packed is None or not self._packed.fits(parameters, settings):
            self._packed = PackedBlock(parameters, settings)
        return self._packed

    def set_optimized(self, enabled: bool) -> None:
        """Allow packed weights wherever the block does not fall back to 'full'.

        Memory mode 'full' always does.
        """
        self.optimized = enabled
        self._packed = None

    def train(self, mode: bool = True) -> ConvNeXtBlock:
        if mode:
            self._packed = None
        return super().train(mode)

    def __getstate__(self) -> dict:
        # The tensors of oneDNN can be neither copied nor saved.
        return self.__dict__ | {'_packed': None}
