"""Pictures of a segmentor's predictions, drawn while it is evaluated."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from mmengine.hooks import Hook
from PIL import Image

from convnext_dense.data.pictures import draw_segmentation
from convnext_dense.registry import HOOKS


@HOOKS.register_module()
class SegmentationPictureHook(Hook):
    """At each evaluation draws the first images with truth and prediction: ``<work_dir>/pictures/<image>.png``.

    A later evaluation overwrites the pictures of the one before. With several ranks each draws its own share.

    Args:
        count: images drawn by each rank at each evaluation; 0 draws none.
    """

    priority = 'NORMAL'

    def __init__(self, count: int = 8):
        self._count = count

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._draw(runner, runner.val_dataloader.dataset.metainfo, batch_idx, outputs)

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._draw(runner, runner.test_dataloader.dataset.metainfo, batch_idx, outputs)

    def _draw(self, runner, metainfo: dict, batch_idx: int, samples) -> None:
        for sample in samples[:max(self._count - batch_idx * len(samples), 0)]:
            image = np.asarray(Image.open(sample.img_path).convert('RGB'))
            prediction = sample.pred_sem_seg.data.squeeze(0).cpu().numpy()
            truth = sample.gt_sem_seg.data.squeeze(0).cpu().numpy() if 'gt_sem_seg' in sample else None
            folder = Path(runner.work_dir) / 'pictures'
            folder.mkdir(parents=True, exist_ok=True)
            picture = draw_segmentation(image, prediction, truth, metainfo['classes'], metainfo['palette'])
            picture.save(folder / f'{Path(sample.img_path).stem}.png')
