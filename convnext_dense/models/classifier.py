"""The image classifier: the trunk, global average pooling, a LayerNorm and a linear head."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.nn import functional as F

from convnext_dense import layers
from convnext_dense.models.pretrained import init_pretrained, is_pretrained
from convnext_dense.registry import MODELS
from convnext_dense.variants import Variant, get_variant

_PREPROCESSOR = 'convnext_dense.ClassificationDataPreprocessor'
_OUTPUTS = ('logits', 'pre_logits', 'maps')


@MODELS.register_module()
class ConvNeXtClassifier(layers.ConvNeXt, BaseModel):
    """ConvNeXt V1 or V2 classifier: (N, in_channels, H, W) -> logits (N, num_classes).

    ::

        features = norm(mean over H and W of the last stage's feature map)     (N, dims[-1])
        logits   = head(dropout(features))                                     (N, num_classes)

    The parameters have the authors' names: ``downsample_layers``, ``stages``, ``norm``, ``head``.

    Args:
        arch, in_channels, drop_path_rate, layer_scale_init_value, frozen_stages, norm_eval,
            with_cp, memory, residual_dtype: see :class:`convnext_dense.layers.ConvNeXt`. ``norm``
            and ``head`` are never frozen.
        num_classes: K, 1 or more.
        dropout: probability in [0, 1) of setting an element of the features to 0 during training.
        head_init_scale: factor on the head's initial weights; the authors fine-tune with 0.001.
        data_preprocessor: mmengine's; None, or a dict without ``type``, builds a
            :class:`convnext_dense.models.ClassificationDataPreprocessor` for ``num_classes``.
        init_cfg: as for :class:`convnext_dense.models.ConvNeXt`. A checkpoint with another number
            of classes leaves the head as it was initialized.

    Raises:
        ValueError: an argument is out of range.

    Source: arXiv:2201.03545 section 2; facebookresearch/ConvNeXt models/convnext.py @ 048efce;
    facebookresearch/ConvNeXt-V2 models/convnextv2.py @ 2553895.
    """

    _is_init: bool  # mmengine's

    def __init__(
        self,
        arch: str | Mapping | Variant = 'tiny',
        in_channels: int = 3,
        *,
        num_classes: int = 1000,
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float | None = None,
        dropout: float = 0.0,
        head_init_scale: float = 1.0,
        frozen_stages: int = 0,
        norm_eval: bool = False,
        with_cp: bool = False,
        memory: str = 'auto',
        residual_dtype: str | torch.dtype | None = None,
        data_preprocessor: dict | nn.Module | None = None,
        init_cfg: dict | None = None,
    ):
        variant = get_variant(arch)
        if not isinstance(num_classes, int) or num_classes < 1:
            raise ValueError(
                f'num_classes must be a positive integer; got {num_classes!r}. For features '
                "without a head use mode='tensor', output='pre_logits'"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout is a probability in [0, 1); got {dropout}')
        super().__init__(
            variant,
            in_channels,
            drop_path_rate=drop_path_rate,
            frozen_stages=frozen_stages,
            layer_scale_init_value=layer_scale_init_value,
            norm_eval=norm_eval,
            with_cp=with_cp,
            memory=memory,
            residual_dtype=residual_dtype,
        )
        self.num_classes = num_classes
        self.init_cfg: Any = copy.deepcopy(init_cfg)
        self.data_preprocessor = _build_preprocessor(data_preprocessor, num_classes)
        self.norm = nn.LayerNorm(self.dims[-1], eps=variant.norm_eps)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.dims[-1], num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.weight.mul_(head_init_scale)
        self.train(self.training)  # applies norm_eval to the norm above

    def forward(  # type: ignore[override]  # mmengine's signature
        self,
        inputs: Tensor,
        data_samples: Any = None,
        mode: str = 'tensor',
        output: str = 'logits',
    ) -> Tensor | tuple[Tensor, ...] | dict[str, Tensor] | list[BaseDataElement]:
        """Run on normalized images.

        Args:
            inputs: (N, in_channels, H, W).
            data_samples: for 'loss' the targets, labels (N,) or probabilities (N, K); for 'predict'
                an element for each image, to which its prediction is added, or None.
            mode: what to return. 'loss' gives ``dict(loss=mean cross entropy)``; 'predict' gives a
                list of elements with ``pred_scores``, the softmax (K,), and ``pred_label``;
                'tensor' gives ``output``.
            output: 'logits' (N, K), 'pre_logits', the features (N, dims[-1]), or 'maps', the
                feature map of each stage before any norm.

        Raises:
            ValueError: ``mode`` or ``output`` is unknown, or they do not fit together.
        """
        if output not in _OUTPUTS or (output != 'logits' and mode != 'tensor'):
            raise ValueError(
                f"output must be one of {_OUTPUTS}, and 'logits' unless mode is 'tensor'; got "
                f'output={output!r} with mode={mode!r}'
            )
        if output == 'maps':
            return super().forward(inputs)
        last_map = self.forward_stages(inputs)[-1]  # (N, dims[-1], H / 32, W / 32)
        features = self.norm(last_map.mean(dim=(2, 3)))  # (N, dims[-1])
        if output == 'pre_logits':
            return features
        logits = self.head(self.dropout(features))  # (N, K)
        if mode == 'tensor':
            return logits
        if mode == 'loss':
            return dict(loss=_cross_entropy(logits, data_samples))
        if mode == 'predict':
            return _add_predictions(logits, data_samples)
        raise ValueError(f"mode must be 'tensor', 'loss' or 'predict'; got {mode!r}")

    def init_weights(self) -> None:
        """Load the checkpoint of ``init_cfg`` strictly and log what was loaded.

        An ``init_cfg`` of another type is left to mmengine.
        """
        if not is_pretrained(self.init_cfg):
            super().init_weights()
        elif not self._is_init:
            init_pretrained(self, self.init_cfg)
            self._is_init = True


def _build_preprocessor(cfg: dict | nn.Module | None, num_classes: int) -> nn.Module:
    if isinstance(cfg, nn.Module):
        return cfg
    settings: dict[str, Any] = dict(type=_PREPROCESSOR)
    settings.update(cfg or {})
    if settings['type'] == _PREPROCESSOR:
        settings.setdefault('num_classes', num_classes)
    return MODELS.build(settings)


def _cross_entropy(logits: Tensor, targets: object) -> Tensor:
    """Mean over the batch of -sum_k target_k log softmax(logits)_k, in fp32.

    Args:
        logits: (N, K).
        targets: labels (N,) or probabilities (N, K).
    """
    if not isinstance(targets, Tensor):
        raise ValueError(
            "mode='loss' needs data_samples: a tensor of labels (N,) or of probabilities (N, K); "
            f'got {type(targets).__name__}'
        )
    return F.cross_entropy(logits.float(), targets)


def _add_predictions(
    logits: Tensor, samples: list[BaseDataElement] | None
) -> list[BaseDataElement]:
    if samples is None:
        samples = [BaseDataElement() for _ in logits]
    for sample, scores in zip(samples, logits.float().softmax(dim=1), strict=True):
        sample.pred_scores = scores
        sample.pred_label = scores.argmax()
    return samples
