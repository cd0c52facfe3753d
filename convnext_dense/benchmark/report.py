"""Results as a table and as JSON, with what is known of the machine."""

from __future__ import annotations

import json
import platform
import shlex
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path

from convnext_dense.benchmark.networks import ASIDE
from convnext_dense.benchmark.compare import Result
from convnext_dense.checkpoints.errors import first_line

COLUMNS = ('candidate', 'median ms', 'min ms', 'x fastest peer', 'x timm', 'saved MiB', 'peak MiB')
PACKAGES = (
    'convnext-dense',
    'torch',
    'torchvision',
    'timm',
    'transformers',
    'mmpretrain',
    'triton',
    'numpy',
)
MIB = 2**20


def find_fastest_peer(results: Sequence[Result]) -> Result | None:
    return min(
        (r for r in results if r.candidate.is_peer and r.seconds),
        key=lambda r: r.median,
        default=None,
    )


def find_timm(results: Sequence[Result]) -> Result | None:
    """timm's default network as it comes: eager, and channels_first if that was measured."""
    eager = [
        r for r in results if r.candidate.name == 'timm' and not r.candidate.compile and r.seconds
    ]
    return min(
        eager, key=lambda r: r.candidate.memory_format, default=None
    )  # 'channels_first' < 'channels_last'


def make_rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """A row for each result, the fastest first, failures last. Ratios above 1: faster than the other, so many times."""
    others = (find_fastest_peer(results), find_timm(results))
    rows = []
    for result in sorted(results, key=lambda r: r.median or float('inf')):
        if not result.seconds:
            rows.append((result.candidate.label, *'------'))
            continue
        ratios = [f'{other.median / result.median:.2f}' if other else '-' for other in others]
        memory = [_format_mib(value) for value in (result.saved_bytes, result.peak_bytes)]
        rows.append(
            (
                result.candidate.label,
                f'{1e3 * result.median:.1f}',
                f'{1e3 * min(result.seconds):.1f}',
                *ratios,
                *memory,
            )
        )
    return rows


def format_markdown(results: Sequence[Result]) -> str:
    """The table, and a line for each failure with its reason."""
    table = format_table(COLUMNS, make_rows(results))
    failures = ''.join(
        f'\n- not complete: {r.candidate.label}: {r.error}' for r in results if r.error
    )
    return f'{make_title(results)}\n\n{table}\n{failures}\n'


def format_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown that is also aligned as plain text: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(columns, *rows)]
    rule = ['-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])]
    lines = [
        [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths))
        ]
        for line in (columns, rule, *rows)
    ]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)


def make_title(results: Sequence[Result]) -> str:
    setup = results[0].setup
    threads = next((f', {r.threads} threads' for r in results if r.threads), '')
    device = next((r.device for r in results if r.device), None) or name_cpu()
    runs = max((len(r.seconds) for r in results), default=0)
    arch = (
        setup.arch
        if isinstance(setup.arch, str)
        else f'depths {setup.arch["depths"]} dims {setup.arch["dims"]}'
    )
    malloc = '' if setup.malloc == 'default' else f', malloc {setup.malloc}'
    return (
        f'{setup.mode}, {arch}, {"x".join(map(str, setup.shape))}, {setup.dtype}, {device}{threads}{malloc}, '
        f'medians of {runs} runs'
    )


def make_record(results: Sequence[Result]) -> dict:
    """All samples and what they were measured with, for JSON."""
    fastest = find_fastest_peer(results)
    return dict(
        command=shlex.join(['python', '/'.join(Path(sys.argv[0]).parts[-2:]), *sys.argv[1:]]),
        date=datetime.now(timezone.utc).isoformat(timespec='seconds'),
        system=describe_system(results),
        fastest_peer=fastest and fastest.candidate.label,
        results=[_make_entry(result) for result in results],
    )


def write_json(record: dict | list, path: Path) -> None:
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + '\n', encoding='utf-8')


def log(text: str) -> None:
    """Progress, apart from the results: on stderr, with the time."""
    print(f'{datetime.now():%H:%M:%S} {text}', file=sys.stderr, flush=True)


def describe_error(error: Exception) -> str:
    """Its kind and what it says first."""
    return f'{type(error).__name__}: {first_line(error)}'[:300]


def describe_system(results: Sequence[Result] = (), device: str = 'cpu') -> dict:
    """The machine: ``device`` is asked for its name where ``results`` do not tell it."""
    name = next((r.device for r in results if r.device), None)
    if device == 'cuda' and name is None:
        import torch

        name = torch.cuda.get_device_name()
    found = {
        package: list(distributions(name=package, path=[*sys.path, str(ASIDE)]))
        for package in PACKAGES
    }
    versions = {package: copies[0].version if copies else None for package, copies in found.items()}
    return dict(
        cpu=name_cpu(),
        device=name,
        threads=next((r.threads for r in results if r.threads), None),
        system=platform.system(),
        python=platform.python_version(),
        versions=versions,
    )


def name_cpu() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    facts = {
        key.strip(): value.strip() for key, _, value in (line.partition(':') for line in lines)
    }
    if not facts.get('model name'):
        return platform.processor() or platform.machine()
    if 'cpu family' not in facts:
        return facts['model name']
    return f'{facts["model name"]} (family {facts["cpu family"]}, model {facts["model"]})'  # one name, many CPUs


def _make_entry(result: Result) -> dict:
    entry = asdict(result)
    spread = (
        [statistics.median(result.seconds), min(result.seconds)] if result.seconds else [None, None]
    )
    return dict(label=result.candidate.label, median=spread[0], min=spread[1], **entry)


def _format_mib(value: int | None) -> str:
    return '-' if value is None else f'{value / MIB:.1f}'
