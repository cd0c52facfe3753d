"""The scores of a test run as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmengine.dist import master_only
from rich.console import Console
from rich.table import Table

from convnext_dense.evaluation.scores import COCO_NAME, KIND_TITLES, Scores

# Columns that would make the table of classes too wide for a terminal; the JSON has them.
_NOT_SHOWN = ('APs', 'APm', 'APl')


@master_only
def print_scores(scores: Scores, console: Console | None = None) -> None:
    """Print COCO's scores in percent, then other metrics, then the scores of each class.

    Args:
        scores: what to print.
        console: where; None prints on stdout.
    """
    console = console or Console()
    tables = (
        _make_coco_table(scores.metrics),
        _make_metric_table(scores.metrics),
        _make_class_table(scores.classes),
    )
    for table in tables:
        if table.rows:
            console.print(table)


def _make_coco_table(metrics: Mapping[str, float | None]) -> Table:
    """A row for boxes and a row for masks."""
    rows: dict[str, dict[str, float | None]] = {}
    for name, value in metrics.items():
        match = COCO_NAME.fullmatch(name)
        if match:
            kind, suffix = match.groups(default='')
            rows.setdefault(KIND_TITLES[kind], {})[f'AP{suffix}'] = _to_percent(value)
    return _make_table('COCO scores, in percent', '', rows)


def _make_metric_table(metrics: Mapping[str, float | None]) -> Table:
    rows = {
        name: {'value': value} for name, value in metrics.items() if not COCO_NAME.fullmatch(name)
    }
    return _make_table('scores', 'metric', rows)


def _make_class_table(classes: Mapping[str, Mapping[str, float | None]]) -> Table:
    rows: dict[str, dict[str, float | None]] = {}
    for class_name, values in classes.items():
        row = rows.setdefault(class_name, {})
        for name, value in values.items():
            if not name.endswith(_NOT_SHOWN):
                row[name] = _to_percent(value) if ' AP' in name else value
    return _make_table('scores of each class, in percent', 'class', rows)


def _make_table(
    title: str, first_column: str, rows: Mapping[str, Mapping[str, float | None]]
) -> Table:
    """A table of {row: {column: value}}; the columns are in the order of their first mention."""
    columns: dict[str, None] = {}
    for row in rows.values():
        columns.update(dict.fromkeys(row))
    table = Table(title=title, title_justify='left')
    table.add_column(first_column)
    for column in columns:
        table.add_column(column, justify='right')
    for name, row in rows.items():
        table.add_row(name, *_format_row(row, list(columns)))
    return table


def _format_row(row: Mapping[str, float | None], columns: Sequence[str]) -> list[str]:
    texts = []
    for column in columns:
        value = row.get(column)
        texts.append('-' if value is None else f'{value:.2f}')
    return texts


def _to_percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
