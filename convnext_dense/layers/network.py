"""The ConvNeXt trunk: stem, stages with downsampling between them, one map for each stage."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from convnext_dense.layers.block import ConvNeXtBlock
from convnext_dense.layers.norm import LayerNorm2d
from convnext_dense.layers.path import active_transforms
from convnext_dense.variants import get_variant


class ConvNeXt(nn.Module):
    """ConvNeXt V1 or V2 trunk: (N, in_channels, H, W) -> one raw map a stage, (N, dims[i], H / s, W / s).

    The stride s of stage i is 4*2^i, and no more than ``output_stride`` where that is 8 or 16. Sides that are not
    multiples of the stride are rounded down, as the authors' convolutions do. The maps come in the memory format of the
    input, contiguous or channels_last; inside, everything is channels_last.

    Args:
        arch: name in ``VARIANTS``, ``dict(depths=..., dims=..., use_grn=...)`` or a ``Variant``.
        in_channels: channels of the input image.
        num_stages: stages to build, from the first; None builds all. Drop-path rates are those of the whole arch.
        drop_path_rate: stochastic depth in [0, 1): rises linearly from 0 at the first block to this at the last.
        layer_scale_init_value: initial layer scale; 0 builds none; None takes the arch's own (1e-6 V1, none V2).
        frozen_stages: the first ``frozen_stages`` stages, each with the stem or downsampling before it, get no
            gradient and stay in eval mode, also after ``.train()``; 0 or less freezes nothing.
        norm_eval: keep every normalization layer in eval mode. LayerNorm behaves the same in both modes: the
            argument is here for configs written for other backbones.
        with_cp: recompute each block in the backward pass (non-reentrant checkpointing) to save memory.
        output_stride: 8 or 16 keeps all later maps at that stride: a downsampling that would pass it has stride 1, and
            the dilation of what follows doubles instead, so that each weight sees the same distances in the image.
            Parameters and their shapes stay. 32 is the published network: nothing is dilated.
        memory: 'default', 'low' or 'plain': what each block keeps for the backward pass; see
            :class:`ConvNeXtBlock`. 'low' also computes stem and downsampling again. Outputs and gradients are the same;
            rely on 'plain' alone for second derivatives. Dilated, compiled and exported networks run as 'plain', and
            'default' on a CPU's small maps.
        residual_dtype: of the maps between blocks under autocast: None is torch's promotion, as in other libraries
            (fp32 in V1); 'bfloat16' or 'float16' take less memory and round the sum after every
            block, fp16 ends at 65504; 'float32'.

    Raises:
        ValueError: an argument out of range, or layer scale asked for together with GRN.

    Source: arXiv:2201.03545 section 2, arXiv:2301.00808 section 3; facebookresearch/ConvNeXt models/convnext.py @
    048efce; facebookresearch/ConvNeXt-V2 models/convnextv2.py @ 2553895. Parameter names are theirs. Dilation as in
    huggingface/pytorch-image-models timm/models/convnext.py:ConvNeXt @ v1.0.31, with equal outputs.
    """

    def __init__(
        self,
        arch='tiny',
        in_channels: int = 3,
        *,
        num_stages: int | None = None,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float | None = None,
        frozen_stages: int = 0,
        norm_eval: bool = False,
        with_cp: bool = False,
        output_stride: int = 32,
        memory: str = 'auto',
        residual_dtype: str | torch.dtype | None = None,
    ):
        super().__init__()
        self.variant = get_variant(arch)
        self.depths, self.dims = self.variant.depths, self.variant.dims
        self.in_channels = in_channels
        self.num_stages = len(self.depths) if num_stages is None else num_stages
        self.frozen_stages, self.norm_eval, self.with_cp = frozen_stages, norm_eval, with_cp
        self.output_stride, self.memory = output_stride, memory
        if layer_scale_init_value is None:
            layer_scale_init_value = self.variant.layer_scale_init_value
        self._check_arguments(drop_path_rate, layer_scale_init_value)

        channels = (in_channels, *self.dims)
        eps = self.variant.norm_eps
        self.downsample_layers = nn.ModuleList(
            _make_stem(*channels[:2], eps)
            if i == 0
            else _make_downsample(
                channels[i], channels[i + 1], eps, self.dilations[i - 1], self.dilations[i]
            )
            for i in range(self.num_stages)
        )
        drop_path = iter(_drop_path_rates(drop_path_rate, sum(self.depths)))
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    ConvNeXtBlock(
                        self.dims[i],
                        drop_path=next(drop_path),
                        use_grn=self.variant.use_grn,
                        layer_scale_init_value=layer_scale_init_value,
                        norm_eps=eps,
                        dilation=self.dilations[i],
                        memory=memory,
                        residual_dtype=residual_dtype,
                    )
                    for _ in range(self.depths[i])
                )
            )
            for i in range(self.num_stages)
        )
        self.apply(_init_weights)
        self._freeze()

    @property
    def strides(self) -> tuple[int, ...]:
        """Input pixels for each pixel of a stage's map: (4, 8, 16, 32) for four stages that are not dilated."""
        return tuple(4 * 2**i // dilation for i, dilation in enumerate(self.dilations))

    @property
    def dilations(self) -> tuple[int, ...]:
        """Of each stage's depthwise convolutions: (1, 1, 1, 2) for ``output_stride`` 16, (1, 1, 2, 4) for 8."""
        dilated = self.output_stride < 32
        return tuple(
            max(4 * 2**i // self.output_stride, 1) if dilated else 1 for i in range(self.num_stages)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return in_memory_format_of(x, self.forward_stages(x))

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The raw map of every built stage, (N, dims[i], H / strides[i], W / strides[i]), channels_last strides."""
        self._check_input(x)
        x = x.contiguous(memory_format=torch.channels_last)
        low = self.memory == 'low' and torch.is_grad_enabled() and not list(active_transforms())
        maps = []
        for downsample, stage in zip(self.downsample_layers, self.stages):
            x = (
                checkpoint(downsample, x, use_reentrant=False, preserve_rng_state=False)
                if low
                else downsample(x)
            )
            for block in stage:
                x = (
                    checkpoint(block, x, use_reentrant=False)
                    if self.with_cp and self.training
                    else block(x)
                )
            maps.append(x)
        return maps

    def optimize_for_inference(self, enabled: bool = True):
        """Go to eval mode and run every block, while no gradients are asked for, in its fastest form on a CPU.

        LayerNorm's affine part and layer scale are multiplied into the products, weights are packed for oneDNN, GELU
        and residual sum become parts of the products: the same maps up to rounding (1e-5). Parameters stay as they are,
        and packed weights are made again when one has changed, also through ``.data``: each forward pass compares the
        sums of the bits of every row (an exchange of two weights of a row would pass). Weights are packed for a size of
        image when it comes again. ``train()`` lets go of the packed weights, which take two to three times the memory
        of the blocks' parameters; ``optimize_for_inference(False)`` goes back for good. On other devices, and where a
        CPU's map is so small that 'plain' is faster, nothing changes.
        """
        for module in self.modules():
            if isinstance(module, ConvNeXtBlock):
                module.optimized, module._packed = enabled, None
        return self.eval()

    def train(self, mode: bool = True):
        super().train(mode)
        self._freeze()
        return self

    def _freeze(self):
        for i in range(self.frozen_stages):
            for module in (self.downsample_layers[i], self.stages[i]):
                module.eval().requires_grad_(False)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.LayerNorm):
                    module.eval()

    def _check_arguments(self, drop_path_rate: float, layer_scale_init_value: float):
        if not 1 <= self.num_stages <= len(self.depths):
            raise ValueError(
                f'num_stages must be in 1..{len(self.depths)} for depths {self.depths}; '
                f'got {self.num_stages}'
            )
        if self.output_stride not in (8, 16, 32):
            raise ValueError(
                'output_stride must be 8, 16 or 32 (as published, nothing dilated); '
                f'got {self.output_stride!r}'
            )
        if not isinstance(self.in_channels, int) or self.in_channels < 1:
            raise ValueError(f'in_channels must be a positive integer; got {self.in_channels!r}')
        if not 0 <= drop_path_rate < 1:
            raise ValueError(f'drop_path_rate is a probability in [0, 1); got {drop_path_rate}')
        if layer_scale_init_value < 0:
            raise ValueError(
                f'layer_scale_init_value must be 0 (no layer scale) or more; got {layer_scale_init_value}'
            )
        if layer_scale_init_value > 0 and self.variant.use_grn:
            raise ValueError(
                'ConvNeXt V2 has GRN in place of layer scale: use layer_scale_init_value=0 (or leave it '
                f'out) with use_grn=True; got {layer_scale_init_value}'
            )
        if self.frozen_stages > self.num_stages:
            raise ValueError(
                f'frozen_stages must be at most {self.num_stages}, the number of stages that are built; '
                f'got {self.frozen_stages}'
            )

    def _check_input(self, x: Tensor):
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            return  # sizes are symbols here; a comparison would fix them
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f'expected a batch of images (N, {self.in_channels}, H, W); got shape {tuple(x.shape)}. '
                'A single image needs a batch dimension: x[None]; other channels need in_channels=...'
            )
        stride = self.strides[-1]
        if min(x.shape[2:]) < stride:
            raise ValueError(
                f'images must be at least {stride} x {stride} px for {self.num_stages} stages; '
                f'got {x.shape[2]} x {x.shape[3]} (height x width). Resize or pad them.'
            )


def _make_stem(in_channels: int, dim: int, eps: float) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, dim, kernel_size=4, stride=4), LayerNorm2d(dim, eps=eps)
    )


def _make_downsample(
    in_dim: int, dim: int, eps: float, dilation_before: int, dilation: int
) -> nn.Sequential:
    """Halves the sides where the dilation stays; keeps them where it grows."""
    if dilation == dilation_before:
        conv = nn.Conv2d(in_dim, dim, kernel_size=2, stride=2)
    else:
        conv = _SameSizeConv2d(in_dim, dim, kernel_size=2, dilation=dilation_before)
    return nn.Sequential(LayerNorm2d(in_dim, eps=eps), conv)


class _SameSizeConv2d(nn.Conv2d):
    """2 x 2 convolution of stride 1 between zeros, as many as keep the sides; the odd one comes last.

    torch's ``padding='same'`` gives the same, but warns: the kernel is even.
    """

    def forward(self, x: Tensor) -> Tensor:
        before, behind = self.dilation[0] // 2, (self.dilation[0] + 1) // 2
        return super().forward(F.pad(x, (before, behind, before, behind)))


def _drop_path_rates(last: float, num_blocks: int) -> list[float]:
    return [last * i / max(num_blocks - 1, 1) for i in range(num_blocks)]


def _init_weights(module: nn.Module):
    """The authors' initialization: normal of standard deviation 0.02 cut at 2, biases zero."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def in_memory_format_of(x: Tensor, maps: list[Tensor]) -> tuple[Tensor, ...]:
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        return tuple(maps)
    return tuple(y.contiguous() for y in maps)
