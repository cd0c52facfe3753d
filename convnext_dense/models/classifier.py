"""The image classifier: the trunk, global average pooling, one LayerNorm and a linear head."""

from __future__ import annotations

import copy

import torch
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.nn import functional as F

from convnext_dense import layers
from convnext_dense.models.pretrained import init_pretrained, is_pretrained
from convnext_dense.registry import MODELS
from convnext_dense.variants import get_variant

_PREPROCESSOR = 'convnext_dense.ClassificationDataPreprocessor'
_OUTPUTS = ('logits', 'pre_logits', 'maps')


@MODELS.register_module()
class ConvNeXtClassifier(layers.ConvNeXt, BaseModel):
    """ConvNeXt V1 or V2 classifier: (N, in_channels, H, W) -> logits (N, num_classes).

    ::

        logits = head(dropout(norm(mean of the last map over height and width)))

    Parameter names are the authors': ``downsample_layers``, ``stages``, ``norm``, ``head``.

    Args:
        arch, in_channels, drop_path_rate, layer_scale_init_value, frozen_stages, norm_eval, with_cp,
            memory, residual_dtype: see :class:`convnext_dense.layers.ConvNeXt`. ``norm`` and ``head`` are never frozen.
        num_classes: K, 1 or more.
        dropout: probability in [0, 1) of zeroing an element of the normed vector while training.
        head_init_scale: factor on the head's initial weights; the authors fine-tune with 0.001.
        data_preprocessor: mmengine's; None, or a dict without ``type``, makes a
            :class:`convnext_dense.models.ClassificationDataPreprocessor` of ``num_classes``.
        init_cfg: as of :class:`convnext_dense.models.ConvNeXt`; a head of other classes is left as initialized.

    Raises:
        ValueError: an argument out of range.

    Source: arXiv:2201.03545 section 2; facebookresearch/ConvNeXt models/convnext.py @ 048efce;
    facebookresearch/ConvNeXt-V2 models/convnextv2.py @ 2553895.
    """

    def __init__(
        self,
        arch='tiny',
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
                f'num_classes must be a positive integer; got {num_classes!r}. For features without a '
                "head use mode='tensor', output='pre_logits'"
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
        self.init_cfg = copy.deepcopy(init_cfg)
        self.data_preprocessor = _build_preprocessor(data_preprocessor, num_classes)
        self.norm = nn.LayerNorm(self.dims[-1], eps=variant.norm_eps)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(self.dims[-1], num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        with torch.no_grad():
            self.head.weight.mul_(head_init_scale)
        self.train(self.training)  # the norm above came after the first look at norm_eval

    def forward(
        self, inputs: Tensor, data_samples=None, mode: str = 'tensor', output: str = 'logits'
    ):
        """Run on normalized images (N, in_channels, H, W).

        Args:
            data_samples: for 'loss' the targets, labels (N,) of integers or probabilities (N, K); for 'predict' an
                element for each image, to which the prediction is added, or None.
            mode: 'loss' gives ``dict(loss=mean cross entropy)``; 'predict' a list of elements with ``pred_scores``,
                softmax (K,), and ``pred_label``; 'tensor' what ``output`` says.
            output: 'logits' (N, K); 'pre_logits', the normed vector (N, dims[-1]); 'maps', the raw map of every stage.
        """
        if output not in _OUTPUTS or (output != 'logits' and mode != 'tensor'):
            raise ValueError(
                f"output must be one of {_OUTPUTS}, and 'logits' unless mode is 'tensor'; got "
                f'output={output!r} with mode={mode!r}'
            )
        if output == 'maps':
            return super().forward(inputs)
        features = self.norm(self.forward_stages(inputs)[-1].mean(dim=(2, 3)))  # (N, dims[-1])
        if output == 'pre_logits':
            return features
        logits = self.head(self.dropout(features))
        if mode == 'tensor':
            return logits
        if mode == 'loss':
            return dict(loss=_cross_entropy(logits, data_samples))
        if mode == 'predict':
            return _add_predictions(logits, data_samples)
        raise ValueError(f"mode must be 'tensor', 'loss' or 'predict'; got {mode!r}")

    def init_weights(self):
        """Load ``init_cfg``'s checkpoint strictly and log what was loaded; any other ``init_cfg`` is mmengine's."""
        if not is_pretrained(self.init_cfg):
            super().init_weights()
        elif not self._is_init:
            init_pretrained(self, self.init_cfg)
            self._is_init = True


def _build_preprocessor(cfg: dict | nn.Module | None, num_classes: int) -> nn.Module:
    if isinstance(cfg, nn.Module):
        return cfg
    cfg = dict(type=_PREPROCESSOR) | dict(cfg or {})
    if cfg['type'] == _PREPROCESSOR:
        cfg.setdefault('num_classes', num_classes)
    return MODELS.build(cfg)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of -sum_k target_k log softmax(logits)_k, in fp32; integer targets are one class each."""
    if not isinstance(targets, Tensor):
        raise ValueError(
            "mode='loss' needs data_samples: a tensor of labels (N,) or of probabilities (N, K); "
            f'got {type(targets).__name__}'
        )
    return F.cross_entropy(logits.float(), targets)


def _add_predictions(
    logits: Tensor, samples: list[BaseDataElement] | None
) -> list[BaseDataElement]:
    samples = [BaseDataElement() for _ in logits] if samples is None else samples
    for sample, scores in zip(samples, logits.float().softmax(dim=1), strict=True):
        sample.pred_scores, sample.pred_label = scores, scores.argmax()
    return samples
