"""Average precision of each class of a detector, by COCO's own tool."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def score_coco_classes(
    ann_file: str | Path,
    result_file: str | Path,
    kind: str,
    classes: Sequence[str] | None = None,
    counts: tuple[int, int] = (100, 100),
) -> dict[str, dict[str, float | None]]:
    """Evaluate a file of detections and return six scores of each class.

    AP is the mean precision at 101 recalls and at the IoUs 0.5, 0.55, ..., 0.95; AP50 and AP75 are
    at a single IoU. APs, APm and APl count objects with a mask area below 32^2, from 32^2 to 96^2,
    and above 96^2 pixels.

    Args:
        ann_file: ground truth in COCO's layout.
        result_file: a list of detections in COCO's result layout: boxes as xywh, masks as RLE.
        kind: 'bbox' or 'segm'.
        classes: names of the classes to score, in this order; None scores all of ``ann_file``.
        counts: how many of the best detections per image and class count for AP, and for the other
            five scores.

    Returns:
        ``{class: {'AP', 'AP50', 'AP75', 'APs', 'APm', 'APl'}}`` in 0..1; None where the ground
        truth has no such object.

    Raises:
        ValueError: ``kind`` is unknown, or a class is not in ``ann_file``.
    """
    if kind not in ('bbox', 'segm'):
        raise ValueError(f"kind must be 'bbox' or 'segm'; got {kind!r}")
    results = json.loads(Path(result_file).read_bytes())
    with contextlib.redirect_stdout(io.StringIO()):  # the tool prints its progress
        precision, names = _evaluate(ann_file, results, kind, counts)
    if classes is None:
        classes = names
    unknown = [name for name in classes if name not in names]
    if unknown:
        raise ValueError(f'{ann_file} has no class {", ".join(unknown)}; it has {", ".join(names)}')
    return {name: _summarize(precision[:, :, names.index(name)]) for name in classes}


def _evaluate(
    ann_file: str | Path, results: list[dict], kind: str, counts: tuple[int, int]
) -> tuple[np.ndarray, list[str]]:
    """Run COCO's tool.

    Returns:
        Precision of shape (10 IoUs, 101 recalls, classes, 4 areas, 2 counts), -1 where undefined,
        and the names of the classes.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO(str(ann_file))
    if kind == 'segm':
        # With a box in the result, the tool would take the area of the box for that of the mask.
        for result in results:
            result.pop('bbox', None)
    if results:
        found = truth.loadRes(results)
    else:  # loadRes fails on an empty list
        found = COCO()
        found.dataset = dict(truth.dataset, annotations=[])
        found.createIndex()
    evaluation = COCOeval(truth, found, kind)
    evaluation.params.maxDets = list(counts)
    evaluation.evaluate()
    evaluation.accumulate()
    categories = truth.loadCats(evaluation.params.catIds)
    return evaluation.eval['precision'], [category['name'] for category in categories]


def _summarize(precision: np.ndarray) -> dict[str, float | None]:
    """The six scores of a class from its precision (10 IoUs, 101 recalls, 4 areas, 2 counts)."""
    parts = {
        'AP': precision[:, :, 0, 0],
        'AP50': precision[0, :, 0, 1],
        'AP75': precision[5, :, 0, 1],
        'APs': precision[:, :, 1, 1],
        'APm': precision[:, :, 2, 1],
        'APl': precision[:, :, 3, 1],
    }
    return {name: _mean(part) for name, part in parts.items()}


def _mean(precision: np.ndarray) -> float | None:
    defined = precision[precision > -1]
    if not len(defined):
        return None
    return float(defined.mean())
