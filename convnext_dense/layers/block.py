"""The ConvNeXt block, V1 and V2."""

from __future__ import annotations

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F

from convnext_dense.layers import inference, lean
from convnext_dense.layers.norm import GlobalResponseNorm

MEMORY = ('default', 'low', 'plain')
RESIDUAL_DTYPES = dict(float32=torch.float32, bfloat16=torch.bfloat16, float16=torch.float16)
_PARTS = dict(
    dwconv=(nn.Conv2d,),
    norm=(nn.LayerNorm,),
    pwconv1=(nn.Linear,),
    grn=(GlobalResponseNorm, type(None)),
    pwconv2=(nn.Linear,),
    drop_path=(DropPath, nn.Identity),
)
_TENSORS = (Tensor, nn.Parameter)
_HOOKS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


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
        memory: what is kept for the backward pass. 'default': input, one map before the hidden layer and that layer,
            half of what autograd keeps; 'low': not the hidden layer, which is computed again; 'plain': whatever
            autograd keeps. Outputs and gradients are the same. Dilated, compiled and exported blocks run as 'plain'
            whatever is asked for, so do blocks of which a part was replaced, and 'default' on a CPU's small maps, where
            that is faster: :meth:`why_plain` tells.
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
        memory: str = 'default',
        residual_dtype: str | torch.dtype | None = None,
    ):
        super().__init__()
        if memory not in MEMORY:
            raise ValueError(f"memory must be 'default', 'low' or 'plain'; got {memory!r}")
        if residual_dtype not in (None, *RESIDUAL_DTYPES, *RESIDUAL_DTYPES.values()):
            raise ValueError(
                "residual_dtype must be None (torch's promotion), 'float32', 'bfloat16' or 'float16'; "
                f'got {residual_dtype!r}'
            )
        self.memory = memory
        self.residual_dtype = (
            RESIDUAL_DTYPES[residual_dtype] if isinstance(residual_dtype, str) else residual_dtype
        )
        self.optimized, self._packed = False, None
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
        autocast = _autocast_dtype(x)
        if (
            self.memory == 'plain'
            or torch.compiler.is_compiling()
            or self._is_small(x)
            or self.why_plain(x)
        ):
            y = self._plain(x)
            return y.to(self.residual_dtype) if autocast and self.residual_dtype else y
        dtype = autocast or x.dtype
        promoted = torch.promote_types(x.dtype, dtype if self.gamma is None else self.gamma.dtype)
        result_dtype = self.residual_dtype if autocast and self.residual_dtype else promoted
        grn_eps = 0.0 if self.grn is None else self.grn.eps
        settings = lean.Settings(self.norm.eps, grn_eps, self.memory == 'low', dtype, result_dtype)
        x, weights = x.permute(0, 2, 3, 1).contiguous(), self._weights()
        if (
            self.optimized
            and not self.training
            and not torch.is_grad_enabled()
            and not inference.why_not(x, dtype)
        ):
            out = self._pack(weights, settings)(x)
        else:
            out = lean.run(x, self._drop_path_scale(x), settings, weights)
        return out.permute(0, 3, 1, 2)

    def why_plain(self, x: Tensor) -> list[str]:
        """What keeps the lean form from input ``x``; empty: it runs, unless ``memory`` is 'plain'.

        As it runs now: without gradients, under ``torch.no_grad()``, the answer may be another.
        """
        reasons = transforms()
        if self._is_small(x):
            reasons.append(f'the map, {tuple(x.shape)}, is so small that plain is faster')
        if type(x) not in _TENSORS or x.is_meta:
            reasons.append(f'the input is a {type(x).__name__} on {x.device}: no plain tensor')
        reasons += [
            f'{name} was replaced or has hooks'
            for name, types in _PARTS.items()
            if _is_changed(getattr(self, name), types)
        ]
        if reasons:
            return reasons
        weights = self._weights()
        return self._why_plain_settings(weights) or self._why_plain_weights(weights, x)

    def _is_small(self, x: Tensor) -> bool:
        if type(x) not in _TENSORS:
            return False
        # On a CPU torch sums LayerNorm's gradients in bf16 or fp16, where these are the dtype: it loses digits.
        half = _autocast_dtype(x) is not None or x.dtype in (torch.bfloat16, torch.float16)
        return lean.is_small(
            x, self.optimized and not self.training, wanted=half or self.memory == 'low'
        )

    def _why_plain_settings(self, weights: lean.Weights) -> list[str]:
        conv, reasons = self.dwconv, []
        if conv.dilation != (1, 1):
            reasons.append(f'the depthwise convolution is dilated by {conv.dilation[0]}')
        elif (conv.kernel_size, conv.stride, conv.padding, conv.groups, conv.padding_mode) != (
            (7, 7),
            (1, 1),
            (3, 3),
            conv.in_channels,
            'zeros',
        ):
            reasons.append('the depthwise convolution is not 7x7 with stride 1 between zeros')
        if any(one is None for one in (*weights[:6], weights.pwconv2_bias)):
            reasons.append('a part has no weight or bias')
        return reasons

    def _why_plain_weights(self, weights: lean.Weights, x: Tensor) -> list[str]:
        weights = [one for one in weights if one is not None]
        types, dtypes, autocast = (
            set(map(type, weights)),
            {one.dtype for one in weights},
            _autocast_dtype(x),
        )
        reasons = [
            f'a weight is a {one.__name__}, no plain tensor' for one in types.difference(_TENSORS)
        ]
        if autocast and torch.float64 in (x.dtype, *dtypes):
            reasons.append('autocast leaves torch.float64 as it is')
        if len(dtypes if autocast else dtypes | {x.dtype}) > 1:
            reasons.append(
                f'the input is {x.dtype}, the weights are {" and ".join(sorted(map(str, dtypes)))}'
            )
        return reasons

    def _weights(self) -> lean.Weights:
        grn = (None, None) if self.grn is None else (self.grn.gamma, self.grn.beta)
        return lean.Weights(
            self.dwconv.weight,
            self.dwconv.bias,
            self.norm.weight,
            self.norm.bias,
            self.pwconv1.weight,
            self.pwconv1.bias,
            *grn,
            self.pwconv2.weight,
            self.pwconv2.bias,
            self.gamma,
        )

    def _drop_path_scale(self, x: Tensor) -> Tensor | None:
        """Each sample's factor (N,), 0 or 1 / (1 - p), as timm draws it for the branch."""
        if not self.drop_path.training or not isinstance(self.drop_path, DropPath):
            return None
        ones = torch.ones(
            len(x), 1, 1, 1, dtype=torch.promote_types(x.dtype, torch.float32), device=x.device
        )
        return self.drop_path(ones).view(-1)

    def _pack(self, weights: lean.Weights, settings: lean.Settings) -> inference.Packed:
        if self._packed is None or not self._packed.fits(weights, settings):
            self._packed = inference.Packed(weights, settings)
        return self._packed

    def train(self, mode: bool = True):
        if mode:
            self._packed = None
        return super().train(mode)

    def __getstate__(self):
        return self.__dict__ | dict(
            _packed=None
        )  # oneDNN's tensors can be neither copied nor saved

    def _plain(self, x: Tensor) -> Tensor:
        y = self.dwconv(x).permute(
            0, 2, 3, 1
        )  # (N, H, W, C): a pixel's channels lie side by side from here
        y = F.gelu(
            self.pwconv1(self.norm(y))
        )  # (N, H, W, 4C); the exact GELU (erf), as the authors
        if self.grn is not None:
            y = self.grn(y)
        y = self.pwconv2(y)
        if self.gamma is not None:
            y = self.gamma * y
        return x + self.drop_path(y.permute(0, 3, 1, 2))  # (N, C, H, W), channels-last strides


def transforms() -> list[str]:
    """What looks into a forward pass and understands torch's own operations only."""
    reasons = []
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        reasons.append('the block is traced, compiled or exported')
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        reasons.append('a transform of torch.func or forward-mode differentiation is active')
    if nn.modules.module._has_any_global_hook():
        reasons.append('hooks on all modules are registered')
    return reasons


def _is_changed(part: nn.Module | None, types: tuple[type, ...]) -> bool:
    if part is None or type(part) not in types:
        return type(part) not in types
    own = part.__dict__
    return 'forward' in own or any(own[name] for name in _HOOKS)


def _autocast_dtype(x: Tensor) -> torch.dtype | None:
    device = x.device.type
    return (
        torch.get_autocast_dtype(device)
        if device != 'meta' and torch.is_autocast_enabled(device)
        else None
    )
