"""The scores of a test run: measured, as a table, and as JSON; of each class too, on request."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import torch
from mmengine.dist import is_main_process, master_only
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from convnext_dense.evaluation.class_ap import score_coco_classes

_COCO = re.compile(r'(?:coco/)?(bbox|segm)_mAP(?:_(50|75|s|m|l))?')
_KINDS = {'bbox': 'box', 'segm': 'mask'}


def run_test(runner: Runner, per_class: bool = False) -> dict[str, dict]:
    """Test, and give ``metrics``: {name: value} as the metrics name them, and ``classes``: {class: {name: value}}.

    ``classes`` is empty unless asked for. For mmseg's IoUMetric it holds IoU and Acc in percent, as mIoU and mAcc are;
    for mmdet's CocoMetric 'box AP', ..., 'mask AP75', ... in 0..1, as mAP is, from COCO's own tool. mmdet's
    ``classwise`` gives boxes and masks one name, so that the masks' overwrite the boxes'; it is not used. A value that
    nothing in the data defines is None.
    """
    per_class = per_class and is_main_process()  # where metrics gather the results of all ranks
    collectors = (
        [_collect(metric, cfg, runner.work_dir) for metric, cfg in _get_metrics(runner)]
        if per_class
        else []
    )
    metrics = {
        name: _to_number(value, undefined=-1.0 if _COCO.fullmatch(name) else None)
        for name, value in runner.test().items()
    }
    classes: dict[str, dict] = {}
    for collect in collectors:
        for name, values in collect().items():
            classes.setdefault(name, {}).update(values)
    return dict(metrics=metrics, classes=classes)


@master_only
def write_scores(
    scores: dict[str, dict], path: str | Path, config: str, checkpoint: str, **notes
) -> None:
    """Write ``scores`` as JSON, with the names of the config and the checkpoint, the date (UTC) and ``notes``."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    date = datetime.now(timezone.utc).isoformat(timespec='seconds')
    record = dict(config=config, checkpoint=checkpoint, date=date, **notes, **scores)
    Path(path).write_text(json.dumps(record, indent=2, allow_nan=False) + '\n', encoding='utf-8')


@master_only
def print_scores(scores: dict[str, dict], console: Console | None = None) -> None:
    """Print COCO's scores (in percent), a row for boxes and one for masks; other metrics; then a row for each class."""
    coco = {
        match: value
        for name, value in scores['metrics'].items()
        if (match := _COCO.fullmatch(name))
    }
    others = [
        (name, value) for name, value in scores['metrics'].items() if not _COCO.fullmatch(name)
    ]
    tables = (
        _make_coco_table(coco),
        _make_table('scores', ['metric', 'value'], others),
        _make_class_table(scores['classes']),
    )
    for table in tables:
        if table.rows:
            (console or Console()).print(table)


def _make_coco_table(values: dict[re.Match, float | None]) -> Table:
    rows: dict[str, dict] = {}
    for match, value in values.items():
        rows.setdefault(_KINDS[match[1]], {})[f'AP{match[2] or ""}'] = _to_percent(value)
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    return _make_table(
        'COCO scores, in percent',
        ['', *columns],
        [(kind, *(row.get(column) for column in columns)) for kind, row in rows.items()],
    )


def _make_class_table(classes: dict[str, dict]) -> Table:
    columns = [
        name
        for name in dict.fromkeys(name for values in classes.values() for name in values)
        if not name.endswith(('APs', 'APm', 'APl'))
    ]  # too wide for a terminal; the JSON has them
    rows = [
        (
            name,
            *(
                _to_percent(values.get(column)) if ' AP' in column else values.get(column)
                for column in columns
            ),
        )
        for name, values in classes.items()
    ]
    return _make_table('scores of each class, in percent', ['class', *columns], rows)


def _make_table(title: str, columns: Sequence[str], rows: Sequence[Sequence]) -> Table:
    table = Table(title=title, title_justify='left')
    for i, column in enumerate(columns):
        table.add_column(column, justify='right' if i else 'left')
    for row in rows:
        table.add_row(
            *(
                value if isinstance(value, str) else '-' if value is None else f'{value:.2f}'
                for value in row
            )
        )
    return table


def _get_metrics(runner: Runner) -> list[tuple]:
    """The test metrics, each with its config."""
    cfgs = runner.cfg.test_evaluator
    cfgs = cfgs if isinstance(cfgs, (list, tuple)) else cfgs.get('metrics', [cfgs])
    return list(zip(runner.test_evaluator.metrics, cfgs, strict=True))


def _collect(metric, cfg: dict, work_dir: str):
    """Make ``metric`` keep what the classes' scores need; the returned function gives them, when the test is over."""
    kind = type(metric).__name__
    if kind == 'CocoMetric' and cfg.get('ann_file'):
        metric.outfile_prefix = metric.outfile_prefix or str(Path(work_dir) / 'results')
        return lambda: _score_boxes_and_masks(metric, cfg['ann_file'])
    if kind == 'IoUMetric':
        areas = _keep_areas(metric)
        return lambda: (
            score_areas(areas[0], areas[1], areas[3], metric.dataset_meta['classes'])
            if areas
            else {}
        )
    return dict


def _keep_areas(metric) -> list[torch.Tensor]:
    """The sums over all images that IoUMetric adds up and drops: intersection, union, prediction, label (classes,)."""
    areas, compute = [], metric.compute_metrics

    def compute_and_keep(results: list) -> dict:
        areas[:] = [sum(areas_of_images) for areas_of_images in zip(*results)]
        return compute(results)

    metric.compute_metrics = compute_and_keep
    return areas


def score_areas(
    intersection: Sequence, union: Sequence, label: Sequence, classes: Sequence[str]
) -> dict[str, dict]:
    """``{class: {'IoU': 100 * intersection / union, 'Acc': 100 * intersection / label}}``, of pixels; 0 / 0: None."""
    return {
        name: dict(
            IoU=100 * float(i) / float(u) if u else None,
            Acc=100 * float(i) / float(t) if t else None,
        )
        for name, i, u, t in zip(classes, intersection, union, label, strict=True)
    }


def _score_boxes_and_masks(metric, ann_file: str) -> dict[str, dict]:
    classes: dict[str, dict] = {}
    counts = (
        100,
        metric.proposal_nums[2],
    )  # mmdet's: COCO's 100 in AP, 1,000 in the others unless configured
    for kind in [kind for kind in _KINDS if kind in metric.metrics]:
        path = f'{metric.outfile_prefix}.{kind}.json'
        for name, values in score_coco_classes(
            ann_file, path, kind, metric.dataset_meta['classes'], counts
        ).items():
            classes.setdefault(name, {}).update(
                {f'{_KINDS[kind]} {key}': value for key, value in values.items()}
            )
    return classes


def _to_number(value, undefined: float | None = None) -> float | None:
    """A float, from numpy's and torch's too; None for NaN, which JSON lacks, and for ``undefined``."""
    value = round(float(value), 6)  # mmseg's are float32 of two decimals
    return None if math.isnan(value) or value == undefined else value


def _to_percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
