"""Batches for the classifier: normalization, random erasing, Mixup, CutMix, on the device."""

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

_MEAN = tuple(255 * value for value in IMAGENET_DEFAULT_MEAN)
_STD = tuple(255 * value for value in IMAGENET_DEFAULT_STD)


@MODELS.register_module()
class ClassificationDataPreprocessor(BaseDataPreprocessor):
    """Makes the classifier's input from uint8 RGB images (N, 3, H, W).

    x = (image - mean) / std in both cases. For training, random erasing and then Mixup or CutMix
    follow, and the targets are probabilities (N, K): 1 - s + s / K for the label and s / K for the
    other classes, mixed like the images. Otherwise each image gets an element with ``gt_label`` and
    the meta ``img_path``, if they are known.

    Random numbers come from the global generators of numpy, Python and torch.

    Args:
        num_classes: K.
        mean: of each channel, in 0..255.
        std: of each channel, in 0..255.
        label_smoothing: s in [0, 1).
        mixup: arguments of timm's Mixup (``mixup_alpha``, ``cutmix_alpha``, ``prob``,
            ``switch_prob``, ``mode``). The batch size must then be even. None does not mix.
        random_erasing: arguments of timm's RandomErasing (``probability``, ``mode``, ...). None
            does not erase.
        non_blocking: copy to the device without waiting.

    Raises:
        ValueError: ``label_smoothing`` is out of range.

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
        self.num_classes = num_classes
        self.label_smoothing = label_smoothing
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1), persistent=False)
        self.mixup = None
        if mixup:
            self.mixup = Mixup(num_classes=num_classes, label_smoothing=label_smoothing, **mixup)
        self.erase = None
        if random_erasing:
            self.erase = RandomErasing(**random_erasing)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Make ``inputs`` and ``data_samples`` for the classifier's forward.

        Args:
            data: ``inputs``, and ``gt_label`` and ``img_path`` if known; stacked or lists of N.
            training: augment and return targets, rather than elements.

        Raises:
            ValueError: a label is none of the classes; there are no labels for training; the batch
                is odd and Mixup needs pairs.
        """
        labels = data.get('gt_label')
        if labels is not None:
            labels = torch.as_tensor(labels)
            self._check_labels(labels)  # before they are on a GPU
        data = self.cast_data(dict(data, gt_label=labels))
        labels = data['gt_label']
        images = data['inputs']
        if not isinstance(images, Tensor):
            images = torch.stack(list(images))
        images = (images.float() - self.mean) / self.std  # (N, 3, H, W)
        if training:
            images, targets = self._augment(images, labels)
            return dict(inputs=images, data_samples=targets)
        samples = _make_samples(len(images), labels, data.get('img_path'))
        return dict(inputs=images, data_samples=samples)

    def _check_labels(self, labels: Tensor) -> None:
        lowest = labels.min()
        highest = labels.max()
        if lowest < 0 or highest >= self.num_classes:
            raise ValueError(
                f'labels must be in 0..{self.num_classes - 1}, as the classifier has num_classes='
                f'{self.num_classes}; got {lowest}..{highest}: is it the right data set?'
            )

    def _augment(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Erase and mix; returns images (N, 3, H, W) and target probabilities (N, K)."""
        if labels is None:
            raise ValueError("training needs 'gt_label' in each item of the data set; got none")
        if self.erase is not None:
            self.erase.device = images.device
            images = self.erase(images)
        if self.mixup is None:
            targets = mixup_target(labels, self.num_classes, smoothing=self.label_smoothing)
            return images, targets
        if len(images) % 2:
            raise ValueError(
                f'Mixup pairs the images of a batch: the batch must be even, got {len(images)}. '
                'Set train_dataloader.batch_size to an even number, with drop_last=True'
            )
        return self.mixup(images, labels)


def _make_samples(
    count: int, labels: Tensor | None, paths: Sequence[str] | None
) -> list[BaseDataElement]:
    samples = []
    for i in range(count):
        sample = BaseDataElement()
        if paths:
            sample.set_metainfo(dict(img_path=paths[i]))
        if labels is not None:
            sample.gt_label = labels[i]
        samples.append(sample)
    return samples
