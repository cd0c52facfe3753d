"""The dense-prediction backbone: the trunk and one LayerNorm for each output."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor

from convnext_dense import layers
from convnext_dense.checkpoints.errors import CheckpointError
from convnext_dense.layers.network import in_memory_format_of
from convnext_dense.models.pretrained import init_pretrained, is_pretrained
from convnext_dense.registry import MODELS
from convnext_dense.variants import get_variant


@MODELS.register_module()
class ConvNeXt(layers.ConvNeXt, BaseModule):
    """ConvNeXt V1 or V2 backbone: (N, in_channels, H, W) -> a normalized map for each entry of ``out_indices``.

    Map k has shape (N, dims[i], H / s, W / s) with i = out_indices[k] and s = 4 * 2^i, or ``output_stride`` where
    that is less: strides 4, 8, 16, 32. Nothing is built or run past the last stage in ``out_indices``, so every
    parameter takes part in every output's sum and DistributedDataParallel needs no ``find_unused_parameters``.

    Args:
        arch, in_channels, drop_path_rate, layer_scale_init_value, frozen_stages, norm_eval, with_cp, output_stride,
            memory, residual_dtype: see :class:`convnext_dense.layers.ConvNeXt`. Output norms are never frozen:
            classification checkpoints do not hold them, so they must be learned.
        out_indices: stages to return, 0 being the first (stride 4), ascending; negative ones count from the last.
        init_cfg: OpenMMLab's. ``dict(type='Pretrained', checkpoint=...)`` takes any library's ConvNeXt, alone or in a
            detector or segmentor, and is strict; see :func:`convnext_dense.checkpoints.load_pretrained`.

    Attributes:
        out_channels, out_strides: of the returned maps, in order; what a neck's or head's ``in_channels`` must be.

    Raises:
        ValueError: an argument out of range.

    Source: arXiv:2201.03545 appendix A.3; facebookresearch/ConvNeXt object_detection/mmdet/models/backbones/
    convnext.py @ 048efce. Differs: unused stages and norms are not built.
    """

    def __init__(
        self,
        arch='tiny',
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
        self.init_cfg = copy.deepcopy(init_cfg)
        self.out_indices = indices
        self.out_channels = tuple(self.dims[i] for i in indices)
        self.out_strides = tuple(self.strides[i] for i in indices)
        for i in indices:
            self.add_module(f'norm{i}', layers.LayerNorm2d(self.dims[i], eps=variant.norm_eps))
        self.train(self.training)  # the norms above came after the first look at norm_eval

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = self.forward_stages(x)
        return in_memory_format_of(
            x, [getattr(self, f'norm{i}')(maps[i]) for i in self.out_indices]
        )

    def init_weights(self):
        """Load ``init_cfg``'s checkpoint strictly and log what was loaded; any other ``init_cfg`` is mmengine's."""
        if isinstance(self.init_cfg, (list, tuple)) and any(
            is_pretrained(cfg) for cfg in self.init_cfg
        ):
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
    if not isinstance(out_indices, Sequence) or not all(isinstance(i, int) for i in out_indices):
        raise ValueError(
            f'out_indices must be a sequence of stage numbers such as (0, 1, 2, 3); got {out_indices!r}'
        )
    if not out_indices or not all(-num_stages <= i < num_stages for i in out_indices):
        raise ValueError(
            f'out_indices must name at least one stage in 0..{num_stages - 1} (or '
            f'-{num_stages}..-1, from the last); got {out_indices!r}'
        )
    indices = tuple(i % num_stages for i in out_indices)
    if list(indices) != sorted(set(indices)):
        raise ValueError(
            f'out_indices must be ascending and name each stage once; got {out_indices!r}, which means '
            f'stages {indices}. Maps are returned in that order.'
        )
    return indices
