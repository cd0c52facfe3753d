"""The table and JSON writer of all benchmarks, and what is known of the machine."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path

from convnext_dense.benchmark.networks import EXTRA_PACKAGES

_PACKAGES = ('convnext-dense', 'torch', 'torchvision', 'timm', 'transformers', 'mmpretrain')


def format_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, aligned as plain text too: first column to the left, the others to the right."""
    table = [columns, *rows]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    rule = ['-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])]
    table.insert(1, rule)
    lines = []
    for line in table:
        cells = [line[0].ljust(widths[0])]
        for i in range(1, len(columns)):
            cells.append(line[i].rjust(widths[i]))
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def format_number(value: float | None, unit: float = 1.0, digits: int = 1) -> str:
    """``value`` in the given unit, such as 1e-3 for ms or ``MIB``; '-' for None."""
    if value is None:
        return '-'
    return f'{value / unit:.{digits}f}'


def write_record(path: Path, results: object, **facts: object) -> None:
    """Write measured results as JSON, with the command, date, machine and versions.

    Raises:
        ValueError: a result is NaN or infinite.
    """
    record = {
        # The name of the program without its folder, which is the user's.
        'command': shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'system': describe_system(),
        **facts,
        'results': results,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1, allow_nan=False) + '\n', encoding='utf-8')


def describe_system() -> dict:
    """The CPU, the operating system and the versions of the packages that are compared."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        versions[package] = None
        # Where a package is found twice, the first one is imported.
        for distribution in distributions(name=package, path=[*sys.path, str(EXTRA_PACKAGES)]):
            versions[package] = distribution.version
            break
    return {
        'cpu': name_cpu(),
        'system': platform.system(),
        'python': platform.python_version(),
        'versions': versions,
    }


def name_cpu() -> str:
    """The CPU's name; on Linux with family and model, as many CPUs share a name."""
    path = Path('/proc/cpuinfo')
    lines = []
    if path.exists():
        lines = path.read_text().splitlines()
    facts = {}
    for line in lines:
        key, _, value = line.partition(':')
        facts[key.strip()] = value.strip()
    name = facts.get('model name') or platform.processor() or platform.machine()
    if 'cpu family' in facts:
        name += f' (family {facts["cpu family"]}, model {facts["model"]})'
    return name


def log(text: str) -> None:
    """Progress on stderr, with the time."""
    print(f'{datetime.now():%H:%M:%S} {text}', file=sys.stderr, flush=True)
