"""The scores of a test run: measured, and written as JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from mmengine.dist import is_main_process, master_only
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner

from convnext_dense.evaluation.class_ap import score_coco_classes
from convnext_dense.evaluation.class_iou import ClassIoU

# How mmdet names COCO's scores: coco/bbox_mAP, coco/bbox_mAP_50, coco/segm_mAP_s, ...
COCO_NAME = re.compile(r'(?:coco/)?(bbox|segm)_mAP(?:_(50|75|s|m|l))?')
KIND_TITLES = {'bbox': 'box', 'segm': 'mask'}


@dataclass
class Scores:
    """The scores of a test run; None for a value that the data does not define.

    Attributes:
        metrics: {name: value}, named and scaled by the metrics.
        classes: {class: {name: value}}, empty unless asked for. IoU and Acc are in percent, as mIoU
            and mAcc are; 'box AP', ..., 'mask APl' are in 0..1, as mAP is.
    """

    metrics: dict[str, float | None]
    classes: dict[str, dict[str, float | None]] = field(default_factory=dict)


def run_test(runner: Runner, per_class: bool = False) -> Scores:
    """Run the test loop and return its scores.

    Args:
        runner: with a test loop.
        per_class: also score each class, for mmseg's ``IoUMetric`` and mmdet's ``CocoMetric``.
            mmdet's own ``classwise`` is not used: it gives boxes and masks the same name, so that
            the scores of the masks replace those of the boxes.
    """
    metrics = runner.test_evaluator.metrics
    class_ious: list[ClassIoU] = []
    coco_metrics: list[tuple[BaseMetric, str]] = []
    if per_class:
        class_ious = _make_class_ious(metrics)
        metrics.extend(class_ious)
        coco_metrics = list(_find_coco_metrics(runner))
        for metric, _ in coco_metrics:
            if metric.outfile_prefix is None:  # otherwise mmdet deletes its result files
                metric.outfile_prefix = str(Path(runner.work_dir) / 'results')
    values = runner.test()

    scores = Scores({name: _to_number(name, value) for name, value in values.items()})
    for class_iou in class_ious:
        metrics.remove(class_iou)
        scores.classes.update(class_iou.scores)
    if is_main_process():  # the rank that writes the result files
        for metric, ann_file in coco_metrics:
            _add_coco_classes(scores, metric, ann_file)
    return scores


@master_only
def write_scores(
    scores: Scores, path: str | Path, config: str, checkpoint: str, **notes: object
) -> None:
    """Write scores as JSON.

    Args:
        scores: what to write.
        path: the file; its folder is created.
        config: name of the config.
        checkpoint: name of the checkpoint.
        **notes: further entries of the file. The date (UTC) is added.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    date = datetime.now(timezone.utc).isoformat(timespec='seconds')
    record = dict(config=config, checkpoint=checkpoint, date=date, **notes, **asdict(scores))
    Path(path).write_text(json.dumps(record, indent=2, allow_nan=False) + '\n', encoding='utf-8')


def _make_class_ious(metrics: list[BaseMetric]) -> list[ClassIoU]:
    """A ``ClassIoU`` for each of mmseg's ``IoUMetric``, with the same ignored label."""
    class_ious = []
    for metric in metrics:
        if type(metric).__name__ == 'IoUMetric' and not metric.format_only:
            class_iou = ClassIoU(metric.ignore_index, metric.collect_device)
            class_iou.dataset_meta = metric.dataset_meta
            class_ious.append(class_iou)
    return class_ious


def _find_coco_metrics(runner: Runner) -> Iterator[tuple[BaseMetric, str]]:
    """Each of mmdet's ``CocoMetric`` with its ground truth, which only the config names."""
    cfgs = runner.cfg.test_evaluator
    if not isinstance(cfgs, (list, tuple)):
        cfgs = cfgs.get('metrics', [cfgs])
    for metric, cfg in zip(runner.test_evaluator.metrics, cfgs, strict=False):
        if type(metric).__name__ == 'CocoMetric' and cfg.get('ann_file'):
            yield metric, cfg['ann_file']


def _add_coco_classes(scores: Scores, metric: BaseMetric, ann_file: str) -> None:
    """Add 'box AP', ..., 'mask APl' of each class, from the result files of mmdet's metric."""
    # Like mmdet: the best 100 detections for AP, as in COCO, and 1,000 (or what is configured) for
    # the other scores.
    counts = (100, metric.proposal_nums[2])
    classes = metric.dataset_meta['classes']
    for kind, title in KIND_TITLES.items():
        if kind not in metric.metrics:
            continue
        result_file = f'{metric.outfile_prefix}.{kind}.json'
        class_scores = score_coco_classes(ann_file, result_file, kind, classes, counts)
        for name, values in class_scores.items():
            entry = scores.classes.setdefault(name, {})
            for key, value in values.items():
                entry[f'{title} {key}'] = value


def _to_number(name: str, value: object) -> float | None:
    """A float, also of a numpy or torch number; None where it is undefined."""
    number = round(float(value), 6)  # type: ignore[arg-type]  # mmseg's are float32, 2 decimals
    is_undefined = math.isnan(number) or (number == -1 and COCO_NAME.fullmatch(name))
    return None if is_undefined else number
