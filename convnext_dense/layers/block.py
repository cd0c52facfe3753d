"""The ConvNeXt block, V1 and V2."""
from __future__ import annotations

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from convnext_dense.layers import inference, lean
from convnext_dense.layers.norm import GlobalResponseNorm

MEMORY = ('default', 'low', 'plain')
_PARTS = dict(dwconv=nn.Conv2d, norm=nn.LayerNorm, pwconv1=nn.Linear, grn=GlobalResponseNorm, pwconv2=nn.Linear)


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
        memory: what is kept for the backward pass. 'default': input, normalized map and hidden layer, half of what
            autograd keeps; 'low': not the hidden layer, which is computed again; 'plain': whatever autograd keeps.
            Outputs and gradients are the same. :meth:`why_plain` says where 'plain' runs whatever is asked for.
        residual_dtype: of the result under autocast; None promotes as torch does, to fp32 where there is ``gamma``.

    Source: arXiv:2201.03545 figure 4, arXiv:2301.00808 figure 5; facebookresearch/ConvNeXt models/convnext.py:Block
    @ 048efce; facebookresearch/ConvNeXt-V2 models/convnextv2.py:Block @ 2553895.
    """

    def __init__(self, dim: int, *, drop_path: float = 0., layer_scale_init_value: float = 1e-6,
                 use_grn: bool = False, norm_eps: float = 1e-6, dilation: int = 1, memory: str = 'default',
                 residual_dtype: torch.dtype | None = None):
        super().__init__()
        self.memory, self.residual_dtype = memory, residual_dtype
        self.optimized, self._packed = False, None
        self.dwconv = nn.Conv2d(dim, dim, kernel_size=7, padding=3 * dilation, dilation=dilation, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.grn = GlobalResponseNorm(4 * dim) if use_grn else None
        self.pwconv2 = nn.Linear(4 * dim, dim)
        gamma = torch.full((dim,), float(layer_scale_init_value))
        self.gamma = nn.Parameter(gamma) if layer_scale_init_value > 0 else None
        # The stride of an axis of one is free: this is the one that gradients of channels-last maps come with, and
        # DistributedDataParallel copies and warns when the two differ.
        self.dwconv.weight = nn.Parameter(self.dwconv.weight.detach().as_strided((dim, 1, 7, 7), (49, 1, 7, 1)))
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        autocast = _autocast_dtype(x)
        if self.memory == 'plain' or torch.compiler.is_compiling() or self.why_plain(x):
            y = self._plain(x)
            return y.to(self.residual_dtype) if autocast and self.residual_dtype else y
        dtype = autocast or x.dtype
        promoted = torch.promote_types(x.dtype, dtype if self.gamma is None else self.gamma.dtype)
        result_dtype = self.residual_dtype if autocast and self.residual_dtype else promoted
        grn_eps = 0. if self.grn is None else self.grn.eps
        settings = lean.Settings(self.norm.eps, grn_eps, self.memory == 'low', dtype, result_dtype)
        x, weights = x.permute(0, 2, 3, 1).contiguous(), self._weights()
        if self.optimized and not self.training and not torch.is_grad_enabled() and not inference.why_not(x):
            out = self._pack(weights, settings)(x)
        else:
            out = lean.run(x, self._drop_path_scale(x), settings, weights)
        return out.permute(0, 3, 1, 2)

    def why_plain(self, x: Tensor) -> list[str]:
        """What keeps the lean form from input ``x``; empty: it runs, unless ``memory`` is 'plain'."""
        reasons = []
        if torch.compiler.is_compiling() or torch.jit.is_tracing() or type(x) is not Tensor:
            reasons.append('the block is traced, compiled or exported')
        if torch._C._are_functorch_transforms_active():
            reasons.append('a transform of torch.func is active')
        if self.dwconv.dilation != (1, 1):
            reasons.append(f'the depthwise convolution is dilated by {self.dwconv.dilation[0]}')
        for name, expected in _PARTS.items():
            part = getattr(self, name)
            if part is not None and (type(part) is not expected or part._forward_hooks or part._forward_pre_hooks
                                     or part._backward_hooks or part._backward_pre_hooks):
                reasons.append(f'{name} was replaced or has hooks')
        if not _autocast_dtype(x) and self.dwconv.weight.dtype != x.dtype:
            reasons.append(f'the input is {x.dtype}, the weights are {self.dwconv.weight.dtype}')
        if x.is_meta:
            reasons.append('the input is on the meta device')
        return reasons

    def _weights(self) -> lean.Weights:
        grn = (None, None) if self.grn is None else (self.grn.gamma, self.grn.beta)
        return lean.Weights(self.dwconv.weight, self.dwconv.bias, self.norm.weight, self.norm.bias, self.pwconv1.weight,
                            self.pwconv1.bias, *grn, self.pwconv2.weight, self.pwconv2.bias, self.gamma)

    def _drop_path_scale(self, x: Tensor) -> Tensor | None:
        """Each sample's factor (N,), 0 or 1 / (1 - p), as timm draws it for the branch."""
        if not self.training or not isinstance(self.drop_path, DropPath):
            return None
        return self.drop_path(x.new_ones(len(x), 1, 1, 1)).view(-1)

    def _pack(self, weights: lean.Weights, settings: lean.Settings) -> inference.Packed:
        if self._packed is None or not self._packed.fits(weights, settings):
            self._packed = inference.Packed(weights, settings)
        return self._packed

    def train(self, mode: bool = True):
        if mode:
            self._packed = None
        return super().train(mode)

    def __getstate__(self):
        return self.__dict__ | dict(_packed=None)  # oneDNN's tensors can be neither copied nor saved

    def _plain(self, x: Tensor) -> Tensor:
        y = self.dwconv(x).permute(0, 2, 3, 1)  # (N, H, W, C): a pixel's channels lie side by side from here
        y = F.gelu(self.pwconv1(self.norm(y)))  # (N, H, W, 4C); the exact GELU (erf), as the authors
        if self.grn is not None:
            y = self.grn(y)
        y = self.pwconv2(y)
        if self.gamma is not None:
            y = self.gamma * y
        return x + self.drop_path(y.permute(0, 3, 1, 2))  # (N, C, H, W), channels-last strides


def _autocast_dtype(x: Tensor) -> torch.dtype | None:
    device = x.device.type
    return torch.get_autocast_dtype(device) if device != 'meta' and torch.is_autocast_enabled(device) else None
