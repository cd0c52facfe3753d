"""Batches for the classifier: normalization, random erasing, Mixup and CutMix, on the model's device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import BaseDataElement
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.mixup import Mixup, mixup_target
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from convnext_dense.registry import MODELS

_MEAN, _STD = (
    tuple(255 * v for v in values) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)
)


@MODELS.register_module()
class ClassificationDataPreprocessor(BaseDataPreprocessor):
    """uint8 RGB images (N, 3, H, W) -> normalized images and what the classifier's modes need.

    While training: x = (image - mean) / std, then random erasing, then Mixup or CutMix; targets are probabilities
    (N, K), smoothed: 1 - s + s / K for the class and s / K for all others, mixed as the images are. Otherwise: x, and
    one element for each image with ``gt_label`` and the meta ``img_path``, as far as they are known.

    Random numbers are numpy's, Python's and torch's global ones.

    Args:
        num_classes: K.
        mean, std: of each channel, in 0-255.
        label_smoothing: s in [0, 1).
        mixup: of timm's Mixup (``mixup_alpha``, ``cutmix_alpha``, ``prob``, ``switch_prob``, ``mode``), None mixes
            nothing. Batches must then be even.
        random_erasing: of timm's RandomErasing (``probability``, ``mode``, ...), None erases nothing.

    Source: facebookresearch/ConvNeXt main.py, engine.py @ 048efce.
    Differs: normalizes and erases whole batches on the device, so that workers hand over bytes.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        mean: Sequence[float] = _MEAN,
        std: Sequence[float] = _STD,
        label_smoothing: float = 0.0,
        mixup: Mapping | None = None,
        random_erasing: Mapping | None = None,
        non_blocking: bool = True,
    ):
        super().__init__(non_blocking)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f'label_smoothing is in [0, 1); got {label_smoothing}')
        self.num_classes, self.label_smoothing = num_classes, label_smoothing
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.mixup = (
            Mixup(num_classes=num_classes, label_smoothing=label_smoothing, **mixup)
            if mixup
            else None
        )
        self.erase = RandomErasing(**random_erasing) if random_erasing else None

    def forward(self, data: dict, training: bool = False) -> dict:
        """Keys of ``data``: ``inputs``, and ``gt_label`` and ``img_path`` if known; stacked, or lists of N.

        Raises:
            ValueError: a label that is none of the classes, or an odd batch where Mixup needs pairs.
        """
        labels = None if data.get('gt_label') is None else torch.as_tensor(data['gt_label'])
        if (
            labels is not None and not 0 <= labels.min() <= labels.max() < self.num_classes
        ):  # before it is on a GPU
            raise ValueError(
                f'labels must be in 0..{self.num_classes - 1}, as the classifier has num_classes='
                f'{self.num_classes}; got {labels.min()}..{labels.max()}: is it the right data set?'
            )
        data = self.cast_data(dict(data, gt_label=labels))
        images, labels = data['inputs'], data['gt_label']
        if not isinstance(images, Tensor):
            images = torch.stack(list(images))
        images = (images.float() - self.mean) / self.std
        if training:
            return dict(zip(('inputs', 'data_samples'), self._augment(images, labels)))
        return dict(
            inputs=images, data_samples=_make_samples(len(images), labels, data.get('img_path'))
        )

    def _augment(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if labels is None:
            raise ValueError("training needs 'gt_label' in each item of the data set; got none")
        if self.erase is not None:
            self.erase.device = images.device
            images = self.erase(images)
        if self.mixup is None:
            return images, mixup_target(labels, self.num_classes, smoothing=self.label_smoothing)
        if len(images) % 2:
            raise ValueError(
                f'Mixup pairs the images of a batch: the batch must be even, got {len(images)}. Set '
                'train_dataloader.batch_size to an even number, with drop_last=True'
            )
        return self.mixup(images, labels)


def _make_samples(
    count: int, labels: Tensor | None, paths: Sequence[str] | None
) -> list[BaseDataElement]:
    samples = [
        BaseDataElement(metainfo=dict(img_path=paths[i]) if paths else None) for i in range(count)
    ]
    for sample, label in zip(samples, [] if labels is None else labels):
        sample.gt_label = label
    return samples
