"""Hooks that draw the predictions of a segmentor or a detector while it is evaluated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement, InstanceData
from PIL import Image

from convnext_dense.registry import HOOKS
from convnext_dense.visualization.draw import Objects, draw_detection, draw_segmentation


class _PictureHook(Hook, ABC):
    """Draws the first images of each evaluation; subclasses say how an image is drawn."""

    priority = 'NORMAL'

    def __init__(self, count: int = 8):
        self._count = count

    @abstractmethod
    def draw(self, image: np.ndarray, sample: BaseDataElement, metainfo: dict) -> Image.Image:
        """Draw an image (H, W, 3) uint8 RGB with what the model's ``sample`` holds.

        Args:
            image: (H, W, 3) uint8 RGB.
            sample: the model's output for this image.
            metainfo: the data set's, with ``classes`` and ``palette``.
        """

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[BaseDataElement] = (),
    ) -> None:
        self._draw_batch(runner, runner.val_dataloader.dataset.metainfo, batch_idx, outputs)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[BaseDataElement] = (),
    ) -> None:
        self._draw_batch(runner, runner.test_dataloader.dataset.metainfo, batch_idx, outputs)

    def _draw_batch(
        self, runner: Runner, metainfo: dict, batch_idx: int, samples: Sequence[BaseDataElement]
    ) -> None:
        num_drawn = batch_idx * len(samples)
        num_left = max(self._count - num_drawn, 0)
        for sample in samples[:num_left]:
            path = Path(sample.img_path)
            image = np.asarray(Image.open(path).convert('RGB'))
            folder = Path(runner.work_dir) / 'pictures'
            folder.mkdir(parents=True, exist_ok=True)
            self.draw(image, sample, metainfo).save(folder / f'{path.stem}.png')


@HOOKS.register_module()
class SegmentationPictureHook(_PictureHook):
    """Draws the first images of each evaluation to ``<work_dir>/pictures/<image>.png``.

    Each picture shows the image, the ground truth and the prediction. A later evaluation overwrites
    the pictures. With several ranks, each draws the first images of its own share.

    Args:
        count: images that each rank draws at each evaluation; 0 draws none.
    """

    def draw(self, image: np.ndarray, sample: BaseDataElement, metainfo: dict) -> Image.Image:
        prediction = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()  # (H, W)
        truth = None
        if 'gt_sem_seg' in sample:
            truth = sample.gt_sem_seg.data.squeeze(0).cpu().numpy()
        return draw_segmentation(image, prediction, truth, metainfo['classes'], metainfo['palette'])


@HOOKS.register_module()
class DetectionPictureHook(_PictureHook):
    """Draws the first images of each evaluation to ``<work_dir>/pictures/<image>.png``.

    Each picture shows the image, the true objects and the predicted ones. The true objects are
    drawn only where the test pipeline loads them (``LoadAnnotations``, after any resizing). A later
    evaluation overwrites the pictures. With several ranks, each draws the first images of its own
    share.

    Args:
        count: images that each rank draws at each evaluation; 0 draws none.
        score_thr: objects with a lower score are not drawn.
    """

    def __init__(self, count: int = 8, score_thr: float = 0.5):
        super().__init__(count)
        self._score_thr = score_thr

    def draw(self, image: np.ndarray, sample: BaseDataElement, metainfo: dict) -> Image.Image:
        found = sample.pred_instances
        prediction = make_objects(found[found.scores >= self._score_thr])
        truth = None
        if 'gt_instances' in sample:
            truth = make_objects(sample.gt_instances)
        return draw_detection(image, prediction, truth, metainfo['classes'], metainfo['palette'])


def make_objects(instances: InstanceData) -> Objects:
    """Convert mmdet's instances; the best score comes last, so that it is drawn on top.

    Args:
        instances: with ``bboxes`` and ``labels``, and optionally ``scores`` and ``masks``.
    """
    scores = None
    if 'scores' in instances:
        instances = instances[instances.scores.argsort()]
        scores = instances.scores.cpu().numpy()
    # Boxes and masks are tensors or mmdet's own classes (HorizontalBoxes, BitmapMasks, ...).
    boxes = getattr(instances.bboxes, 'tensor', instances.bboxes)
    masks = instances.get('masks')
    if isinstance(masks, torch.Tensor):
        masks = masks.cpu().numpy().astype(bool)
    elif masks is not None:
        masks = masks.to_ndarray().astype(bool)
    return Objects(boxes.cpu().numpy(), instances.labels.cpu().numpy(), scores, masks)
