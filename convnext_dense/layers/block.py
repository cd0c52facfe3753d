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

        y = pwconv2(grn(gelu(pwconv1(norm(dwconv(x))))))          dwconv: 7x7, one filter a channel; pwconv1: C -> 4C
        x + drop_path(gamma * y)

    V1 has ``gamma`` (layer scale) and no ``grn``; V2 has ``grn`` and no ``gamma``.

    Args:
        dim: channels C.
        drop_path: probability in [0, 1) of dropping the branch, for each sample by itself, while training.
        layer_scale_init_value: initial ``gamma``; 0 builds none.
        use_grn: build ``grn``.
        norm_eps: epsilon of ``norm``.
        dilation: of ``dwconv``, in pixels of the map: its 49 taps lie this far apart. The weights are the same.
        memory: what is kept for the backward pass; outputs and gradients are the same up to rounding. 'full': what
            autograd keeps. 'half': the input, one more map and the hidden layer, half of 'full' or less. 'low': input
            and map alone; the hidden layer is recomputed. 'auto': 'half', or 'full' for maps on a CPU that are so small
            that 'full' is faster. Always runs as 'full': a block that is dilated, traced, compiled, exported or inside
            a transform of torch.func, or of which a part was replaced or has hooks; :meth:`why_full` tells.
        residual_dtype: of the result under autocast; None promotes as torch does, to fp32 where there is ``gamma``.

    Raises:
        ValueError: ``memory`` or ``residual_dtype`` is none of these.

    Source: arXiv:2201.03545 figure 4, arXiv:2301.00808 figure 5; facebookresearch/ConvNeXt models/convnext.py:Block
    @ 048efce; facebookresearch/ConvNeXt-V2 models/convnextv2.py:Block @ 2553895.
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
                "residual_dtype must be None (torch's promotion), 'float32', 'bfloat16' or 'float16'; "
                f'got {residual_dtype!r}'
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
        # The stride of an axis of one is free: this is the one that gradients of channels-last maps come with, and
        # DistributedDataParallel copies and warns when the two differ.
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
        """The reasons why the block runs as with memory mode 'full' for input ``x``; empty: it does not.

        Tells about a call in the present context: under ``torch.no_grad()`` or autocast the answer may differ.
        """
        return list(path.why_full(self, x, path.autocast_dtype(x)))

    def parameters_by_name(self) -> BlockParameters:
        """All parameters that the block's formula names; None for those that it does not have."""
        return BlockParameters(
            dwconv_weight=self.dwconv.weight,
            dwconv_bias=self.dwconv.bias,
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

    def train(self, mode: bool = True):
        if mode:
            self._packed = None
        return super().train(mode)

    def __getstate__(self):
        # The tensors of oneDNN can be neither copied nor saved.
        return self.__dict__ | {'_packed': None}
