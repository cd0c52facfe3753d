"""The backbone for dense prediction: the trunk and a LayerNorm for each output."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor

from convnext_dense import layers
from convnext_dense.errors import CheckpointError
from convnext_dense.layers.network import in_memory_format_of
from convnext_dense.models.pretrained import init_pretrained, is_pretrained
from convnext_dense.registry import MODELS
from convnext_dense.variants import Variant, get_variant


@MODELS.register_module()
class ConvNeXt(layers.ConvNeXt, BaseModule):
    """ConvNeXt V1 or V2 backbone: images (N, in_channels, H, W) -> normalized feature maps.

    Feature map k belongs to the stage i = out_indices[k]. Its shape is (N, dims[i], H / s, W / s)
    with the stride s = 4 * 2^i = 4, 8, 16, 32, or ``output_stride`` where that is smaller. The
    stages after the last of ``out_indices`` are not built, so every parameter has a gradient and
    DistributedDataParallel does not need ``find_unused_parameters``.

    Args:
        arch, in_channels, drop_path_rate, layer_scale_init_value, frozen_stages, norm_eval,
            with_cp, output_stride, memory, residual_dtype: see
            :class:`convnext_dense.layers.ConvNeXt`. The output norms are never frozen:
            classification checkpoints do not hold them, so they must be learned.
        out_indices: stages to return, ascending; 0 is the first (stride 4), -1 the last.
        init_cfg: OpenMMLab's. ``dict(type='Pretrained', checkpoint=...)`` loads the ConvNeXt of any
            library, alone or in a detector or segmentor, and is strict; see
            :func:`convnext_dense.checkpoints.load_pretrained`.

    Attributes:
        out_channels: channels of each returned feature map, the ``in_channels`` of a neck or head.
        out_strides: stride of each returned feature map.

    Raises:
        ValueError: an argument is out of range.

    Source: arXiv:2201.03545 appendix A.3; facebookresearch/ConvNeXt
    object_detection/mmdet/models/backbones/convnext.py @ 048efce.
    Differs: stages and norms that are not used are not built.
    """

    _is_init: bool  # mmengine's

    def __init__(
        self,
        arch: str | Mapping | Variant = 'tiny',
        in_channels: int = 3,
        *,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float | None = None,
        frozen_stages: int = 0,
        norm_eval: bool = False,
        with_cp: bool = False,
        output_stride: int = 32,
        memory: str = 'auto',
        residual_dtype: str | torch.dtype | None = None,
        init_cfg: dict | None = None,
    ):
        variant = get_variant(arch)
        indices = _check_out_indices(out_indices, len(variant.depths))
        super().__init__(
            variant,
            in_channels,
            num_stages=indices[-1] + 1,
            drop_path_rate=drop_path_rate,
            layer_scale_init_value=layer_scale_init_value,
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            with_cp=with_cp,
            output_stride=output_stride,
            memory=memory,
            residual_dtype=residual_dtype,
        )
        self.init_cfg: Any = copy.deepcopy(init_cfg)
        self.out_indices = indices
        self.out_channels = tuple(self.dims[i] for i in indices)
        self.out_strides = tuple(self.strides[i] for i in indices)
        for i in indices:
            self.add_module(f'norm{i}', layers.LayerNorm2d(self.dims[i], eps=variant.norm_eps))
        self.train(self.training)  # applies norm_eval to the norms above

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = self.forward_stages(x)
        outputs = [getattr(self, f'norm{i}')(maps[i]) for i in self.out_indices]
        return in_memory_format_of(x, outputs)

    def init_weights(self) -> None:
        """Load the checkpoint of ``init_cfg`` strictly and log what was loaded.

        An ``init_cfg`` of another type is left to mmengine.
        """
        if isinstance(self.init_cfg, (list, tuple)) and any(map(is_pretrained, self.init_cfg)):
            raise CheckpointError(
                "init_cfg must be dict(type='Pretrained', checkpoint=...) itself, not a list that "
                f'holds it: the file sets every weight of the trunk; got {self.init_cfg}'
            )
        if not is_pretrained(self.init_cfg):
            super().init_weights()
        elif not self._is_init:
            init_pretrained(self, self.init_cfg)
            self._is_init = True


def _check_out_indices(out_indices: Sequence[int], num_stages: int) -> tuple[int, ...]:
    """Stages to return, counted from 0."""
    is_sequence = isinstance(out_indices, Sequence)
    if not is_sequence or not all(isinstance(i, int) for i in out_indices):
        raise ValueError(
            'out_indices must be a sequence of stage numbers such as (0, 1, 2, 3); got '
            f'{out_indices!r}'
        )
    if not out_indices or not all(-num_stages <= i < num_stages for i in out_indices):
        raise ValueError(
            f'out_indices must name at least one stage in 0..{num_stages - 1} (or '
            f'-{num_stages}..-1, from the last); got {out_indices!r}'
        )
    indices = tuple(i % num_stages for i in out_indices)
    if list(indices) != sorted(set(indices)):
        raise ValueError(
            f'out_indices must be ascending and name each stage once; got {out_indices!r}, which '
            f'means the stages {indices}. Feature maps are returned in that order.'
        )
    return indices
