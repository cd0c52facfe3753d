"""The files of a benchmark: table, JSON and picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convnext_dense.apis.config import ConfigError
from convnext_dense.benchmark.plots import draw_bars, draw_curves
from convnext_dense.benchmark.report import format_markdown, make_record, write_json
from convnext_dense.benchmark.compare import Result
from convnext_dense.benchmark.scaling import Curve, format_curves


def write_comparison(results: Sequence[Result], folder: Path) -> list[Path]:
    """Write ``<mode>.md``, ``.json`` and ``.png`` into ``folder``; earlier ones are replaced."""
    stem = _make_stem(folder, results[0].setup.mode)
    paths = [stem.with_suffix(suffix) for suffix in ('.md', '.json', '.png')]
    paths[0].write_text(format_markdown(results), encoding='utf-8')
    write_json(make_record(results), paths[1])
    draw_bars(results, paths[2])
    return [path for path in paths if path.exists()]


def write_curves(curves: Sequence[Curve], folder: Path) -> list[Path]:
    """Write ``<mode>_by_<axis>.md``, ``.json`` and ``.png`` into ``folder``; earlier ones are replaced."""
    results = [result for curve in curves for _, result in curve.points]
    stem = _make_stem(folder, f'{results[0].setup.mode}_by_{curves[0].axis}')
    paths = [stem.with_suffix(suffix) for suffix in ('.md', '.json', '.png')]
    paths[0].write_text(format_curves(curves), encoding='utf-8')
    write_json(make_record(results), paths[1])
    draw_curves(curves, paths[2])
    return paths


def make_folder(folder: Path) -> None:
    """Make ``folder`` before minutes are spent on what is written there.

    Raises:
        ConfigError: it cannot be made, with the system's reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f'--out must be a folder, or a place for one; {folder}: {error.strerror}'
        ) from None


def _make_stem(folder: Path, name: str) -> Path:
    make_folder(folder)
    return folder / name
