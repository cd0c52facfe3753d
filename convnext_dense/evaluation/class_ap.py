"""Average precision of each class, by COCO's own tool."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

NAMES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl')


def score_coco_classes(
    ann_file: str | Path,
    result_file: str | Path,
    kind: str,
    classes: Sequence[str] | None = None,
    counts: tuple[int, int] = (100, 100),
) -> dict[str, dict[str, float | None]]:
    """``{class: {'AP', 'AP50', 'AP75', 'APs', 'APm', 'APl'}}``, in 0..1; None where there is nothing to find.

    AP is the mean precision at 101 recalls and IoU 0.5, 0.55, ..., 0.95; AP50 and AP75 are at one IoU; s, m, l count
    objects below 32^2, below 96^2 and above, in pixels of the mask's area.

    Args:
        ann_file: ground truth in COCO's layout.
        result_file: a list of detections in COCO's result layout, boxes as xywh; ``segm`` ones with RLE.
        kind: 'bbox' or 'segm'.
        classes: names to score, in this order; None: all of ``ann_file``.
        counts: how many of the best detections of an image and class take part in AP, and in the other five.

    Raises:
        ValueError: ``kind`` is neither, or a class is not in ``ann_file``.
    """
    if kind not in ('bbox', 'segm'):
        raise ValueError(f"kind must be 'bbox' or 'segm'; got {kind!r}")
    with contextlib.redirect_stdout(io.StringIO()):  # the tool prints its progress
        precision, names = _evaluate(
            ann_file, json.loads(Path(result_file).read_bytes()), kind, counts
        )
    absent = [name for name in classes or () if name not in names]
    if absent:
        raise ValueError(f'{ann_file} has no class {", ".join(absent)}; it has {", ".join(names)}')
    return {name: _summarize(precision[:, :, names.index(name)]) for name in classes or names}


def _evaluate(
    ann_file: str | Path, results: list[dict], kind: str, counts: tuple[int, int]
) -> tuple[np.ndarray, list[str]]:
    """Precision (10 IoUs, 101 recalls, classes, 4 areas, 2 counts), -1 where undefined; the names of the classes."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO(str(ann_file))
    if kind == 'segm':  # with a box in it, an object's area would be the box's
        results = [{key: value for key, value in one.items() if key != 'bbox'} for one in results]
    if results:
        found = truth.loadRes(results)
    else:
        found = COCO()
        found.dataset = dict(truth.dataset, annotations=[])
        found.createIndex()
    evaluation = COCOeval(truth, found, kind)
    evaluation.params.maxDets = list(counts)
    evaluation.evaluate()
    evaluation.accumulate()
    names = [category['name'] for category in truth.loadCats(evaluation.params.catIds)]
    return evaluation.eval['precision'], names


def _summarize(precision: np.ndarray) -> dict[str, float | None]:
    """The six numbers of one class from its precision (10 IoUs, 101 recalls, 4 areas, 2 counts)."""
    first, last = precision[..., 0], precision[..., 1]
    parts = (first[..., 0], last[0, :, 0], last[5, :, 0], *(last[..., area] for area in (1, 2, 3)))
    return {
        name: float(part[part > -1].mean()) if (part > -1).any() else None
        for name, part in zip(NAMES, parts, strict=True)
    }
