"""Pictures of a segmentor's or a detector's predictions, drawn while it is evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from mmengine.hooks import Hook
from PIL import Image

from convnext_dense.registry import HOOKS
from convnext_dense.visualization.draw import Objects, draw_detection, draw_segmentation


class _PictureHook(Hook):
    """What the hooks below share; they say how one image is drawn."""

    priority = 'NORMAL'

    def __init__(self, count: int = 8):
        self._count = count

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._draw(runner, runner.val_dataloader.dataset.metainfo, batch_idx, outputs)

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._draw(runner, runner.test_dataloader.dataset.metainfo, batch_idx, outputs)

    def _draw(self, runner, metainfo: dict, batch_idx: int, samples) -> None:
        for sample in samples[: max(self._count - batch_idx * len(samples), 0)]:
            image = np.asarray(Image.open(sample.img_path).convert('RGB'))
            folder = Path(runner.work_dir) / 'pictures'
            folder.mkdir(parents=True, exist_ok=True)
            self._draw_one(image, sample, metainfo).save(
                folder / f'{Path(sample.img_path).stem}.png'
            )

    def _draw_one(self, image: np.ndarray, sample, metainfo: dict) -> Image.Image:
        raise NotImplementedError


@HOOKS.register_module()
class SegmentationPictureHook(_PictureHook):
    """At each evaluation draws the first images with truth and prediction: ``<work_dir>/pictures/<image>.png``.

    A later evaluation overwrites the pictures of the one before. With several ranks each draws its own share.

    Args:
        count: images drawn by each rank at each evaluation; 0 draws none.
    """

    def _draw_one(self, image: np.ndarray, sample, metainfo: dict) -> Image.Image:
        prediction = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
        truth = sample.gt_sem_seg.data.squeeze(0).cpu().numpy() if 'gt_sem_seg' in sample else None
        return draw_segmentation(image, prediction, truth, metainfo['classes'], metainfo['palette'])


@HOOKS.register_module()
class DetectionPictureHook(_PictureHook):
    """At each evaluation draws the first images with true and found objects: ``<work_dir>/pictures/<image>.png``.

    A later evaluation overwrites the pictures of the one before. With several ranks each draws its own share. The truth
    is drawn where the test pipeline loads it (``LoadAnnotations``, after any resizing).

    Args:
        count: images drawn by each rank at each evaluation; 0 draws none.
        score_thr: objects with a lower score are not drawn.
    """

    def __init__(self, count: int = 8, score_thr: float = 0.5):
        super().__init__(count)
        self._score_thr = score_thr

    def _draw_one(self, image: np.ndarray, sample, metainfo: dict) -> Image.Image:
        found = sample.pred_instances
        prediction = make_objects(found[found.scores >= self._score_thr])
        truth = make_objects(sample.gt_instances) if 'gt_instances' in sample else None
        return draw_detection(image, prediction, truth, metainfo['classes'], metainfo['palette'])


def make_objects(instances) -> Objects:
    """An image's objects out of mmdet's ``InstanceData``; the best scores last, which draws them on top."""
    if 'scores' in instances:
        instances = instances[instances.scores.argsort()]
    boxes, masks = instances.bboxes, instances.get('masks')
    if masks is not None:  # a tensor, or mmdet's BitmapMasks or PolygonMasks
        masks = (
            masks.cpu().numpy() if isinstance(masks, torch.Tensor) else masks.to_ndarray()
        ).astype(bool)
    return Objects(
        boxes=getattr(boxes, 'tensor', boxes).cpu().numpy(),
        labels=instances.labels.cpu().numpy(),
        masks=masks,
        scores=instances.scores.cpu().numpy() if 'scores' in instances else None,
    )
