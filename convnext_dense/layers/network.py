"""The ConvNeXt trunk: stem, stages of blocks, downsampling between them."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from convnext_dense.layers.block import ConvNeXtBlock
from convnext_dense.layers.downsample import make_downsample, make_stem
from convnext_dense.layers.path import active_transforms
from convnext_dense.variants import Variant, get_variant


class ConvNeXt(nn.Module):
    """ConvNeXt V1 or V2 trunk: images (N, in_channels, H, W) -> one raw map for each stage.

    Map i has shape (N, dims[i], H / s, W / s). Its stride s is 4 * 2^i, but at most
    ``output_stride`` where that is 8 or 16. Sides that are not multiples of the stride are rounded
    down, as by the authors' convolutions. The maps have the memory format of the input, contiguous
    or channels_last; inside, everything is channels_last.

    Args:
        arch: name in ``VARIANTS``, ``dict(depths=..., dims=..., use_grn=...)`` or a ``Variant``.
        in_channels: channels of the input image.
        num_stages: stages to build, from the first; None builds all. Drop path rates are those of
            the whole arch.
        drop_path_rate: in [0, 1): drop path rises linearly from 0 at the first block to this rate
            at the last.
        layer_scale_init_value: initial layer scale; 0 builds none; None is the arch's default
            (1e-6 in V1, none in V2).
        frozen_stages: the first ``frozen_stages`` stages, each with the stem or downsampling before
            it, get no gradient and stay in eval mode, also after ``.train()``; 0 or less freezes
            nothing.
        norm_eval: keep every normalization layer in eval mode. LayerNorm behaves the same in both
            modes: the argument is here for configs written for other backbones.
        with_cp: recompute each block in the backward pass (non-reentrant checkpointing) to save
            memory.
        output_stride: 32 is the published network. 8 or 16 limits the stride of all maps: a
            downsampling that would exceed it has stride 1, and the dilation of the stages after it
            doubles instead, so that each weight sees the same distances in the image. Parameters
            and their shapes do not change.
        memory: memory mode of the blocks, 'auto', 'full', 'half' or 'low'; see
            :class:`ConvNeXtBlock`. 'low' also recomputes stem and downsampling. Outputs and
            gradients are the same; second derivatives need 'full'.
        residual_dtype: dtype of the maps between blocks under autocast. None is torch's promotion,
            as in other libraries (fp32 in V1); 'bfloat16' or 'float16' take less memory and round
            the sum after every block, fp16 overflows at 65504; 'float32'.

    Raises:
        ValueError: an argument is out of range, or layer scale is combined with GRN.

    Source: arXiv:2201.03545 section 2, arXiv:2301.00808 section 3; facebookresearch/ConvNeXt
    models/convnext.py @ 048efce; facebookresearch/ConvNeXt-V2 models/convnextv2.py @ 2553895.
    Parameter names are theirs. Dilation as in huggingface/pytorch-image-models
    timm/models/convnext.py:ConvNeXt @ v1.0.31, with equal outputs.
    """

    def __init__(
        self,
        arch: str | Mapping | Variant = 'tiny',
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
        self.depths = self.variant.depths
        self.dims = self.variant.dims
        self.in_channels = in_channels
        self.num_stages = len(self.depths) if num_stages is None else num_stages
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        self.output_stride = output_stride
        self.memory = memory
        if layer_scale_init_value is None:
            layer_scale_init_value = self.variant.layer_scale_init_value
        self._check_arguments(drop_path_rate, layer_scale_init_value)

        self.downsample_layers = nn.ModuleList()
        self.stages = nn.ModuleList()
        drop_paths = _drop_path_rates(drop_path_rate, sum(self.depths))
        for i in range(self.num_stages):
            self.downsample_layers.append(self._make_downsample(i))
            first = sum(self.depths[:i])
            blocks = [
                ConvNeXtBlock(
                    self.dims[i],
                    drop_path=drop_path,
                    use_grn=self.variant.use_grn,
                    layer_scale_init_value=layer_scale_init_value,
                    norm_eps=self.variant.norm_eps,
                    dilation=self.dilations[i],
                    memory=memory,
                    residual_dtype=residual_dtype,
                )
                for drop_path in drop_paths[first : first + self.depths[i]]
            ]
            self.stages.append(nn.Sequential(*blocks))
        self.apply(_init_weights)
        self._freeze()

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of each stage's map in pixels of the image: (4, 8, 16, 32) without dilation."""
        return tuple(4 * 2**i // dilation for i, dilation in enumerate(self.dilations))

    @property
    def dilations(self) -> tuple[int, ...]:
        """Dilation of each stage: (1, 1, 1, 2) for ``output_stride`` 16, (1, 1, 2, 4) for 8."""
        if self.output_stride == 32:
            return (1,) * self.num_stages
        return tuple(max(4 * 2**i // self.output_stride, 1) for i in range(self.num_stages))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return in_memory_format_of(x, self.forward_stages(x))

    def forward_stages(self, x: Tensor) -> list[Tensor]:
        """The raw map of every built stage, as in ``forward``, with channels_last strides."""
        self._check_input(x)
        x = x.contiguous(memory_format=torch.channels_last)
        recompute_downsample = (
            self.memory == 'low' and torch.is_grad_enabled() and not active_transforms()
        )
        recompute_blocks = self.with_cp and self.training
        maps = []
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            if recompute_downsample:
                # There is no dropout in it, so the state of the random generator need not be kept.
                x = checkpoint(downsample, x, use_reentrant=False, preserve_rng_state=False)
            else:
                x = downsample(x)
            for block in stage.children():
                if recompute_blocks:
                    x = checkpoint(block, x, use_reentrant=False)
                else:
                    x = block(x)
            maps.append(x)
        return maps

    def optimize_for_inference(self, enabled: bool = True) -> ConvNeXt:
        """Switch to eval mode, and on a CPU to packed weights wherever gradients are disabled.

        LayerNorm's affine part and layer scale are multiplied into the pointwise layers, whose
        weights are packed for oneDNN; GELU and residual sum become part of the products. The maps
        are the same up to rounding (1e-5), and the parameters do not change.

        Packed weights are made when an image size comes for the second time. Each forward pass
        checks whether a parameter has changed, also through ``.data``, and then packs again. Not
        detected: permuting elements within a row of a matrix. The packed weights take two to three
        times the memory of the blocks' parameters; ``train()`` frees them.

        On other devices, in memory mode 'full', and for maps so small that 'auto' runs them as
        'full', nothing changes.

        Args:
            enabled: False goes back to the parameters for good.
        """
        for module in self.modules():
            if isinstance(module, ConvNeXtBlock):
                module.set_optimized(enabled)
        return self.eval()

    def train(self, mode: bool = True) -> ConvNeXt:
        super().train(mode)
        self._freeze()
        return self

    def _freeze(self) -> None:
        for i in range(self.frozen_stages):
            for module in (self.downsample_layers[i], self.stages[i]):
                module.eval().requires_grad_(False)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, nn.LayerNorm):
                    module.eval()

    def _make_downsample(self, stage: int) -> nn.Sequential:
        eps = self.variant.norm_eps
        if stage == 0:
            return make_stem(self.in_channels, self.dims[0], eps)
        return make_downsample(
            self.dims[stage - 1],
            self.dims[stage],
            eps,
            dilation_before=self.dilations[stage - 1],
            dilation=self.dilations[stage],
        )

    def _check_arguments(self, drop_path_rate: float, layer_scale_init_value: float) -> None:
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
                'layer_scale_init_value must be 0 (no layer scale) or more; '
                f'got {layer_scale_init_value}'
            )
        if layer_scale_init_value > 0 and self.variant.use_grn:
            raise ValueError(
                'ConvNeXt V2 has GRN in place of layer scale: use layer_scale_init_value=0 '
                f'(or leave it out) with use_grn=True; got {layer_scale_init_value}'
            )
        if self.frozen_stages > self.num_stages:
            raise ValueError(
                f'frozen_stages must be at most {self.num_stages}, the number of stages that are '
                f'built; got {self.frozen_stages}'
            )

    def _check_input(self, x: Tensor) -> None:
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            return  # a branch on a size would be baked into the trace
        if x.dim() != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f'expected a batch of images (N, {self.in_channels}, H, W); '
                f'got shape {tuple(x.shape)}. A single image needs a batch dimension: x[None]; '
                'other channels need in_channels=...'
            )
        stride = self.strides[-1]
        if min(x.shape[2:]) < stride:
            raise ValueError(
                f'images must be at least {stride} x {stride} px for {self.num_stages} stages; '
                f'got {x.shape[2]} x {x.shape[3]} (height x width). Resize or pad them.'
            )


def _drop_path_rates(last: float, num_blocks: int) -> list[float]:
    return [last * i / max(num_blocks - 1, 1) for i in range(num_blocks)]


def _init_weights(module: nn.Module) -> None:
    """The authors' initialization: normal with standard deviation 0.02 cut at 2, biases zero."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def in_memory_format_of(x: Tensor, maps: list[Tensor]) -> tuple[Tensor, ...]:
    """The maps in the memory format of ``x``: unchanged if channels_last, else contiguous."""
    if x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous():
        return tuple(maps)
    return tuple(y.contiguous() for y in maps)
