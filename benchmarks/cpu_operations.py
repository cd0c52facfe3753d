"""The operations that have several ways on a CPU, each way at the shapes of tiny's stages: medians in milliseconds.

    python benchmarks/cpu_operations.py [--size 512] [--batch 1] [--threads 2]

``*`` marks what ``ops.matmul`` and ``ops.cpu_ops`` choose here. In fp32; ways are measured in turn.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # works from a checkout that is not installed

import torch  # noqa: E402

from convnext_dense.benchmark.report import format_table, name_cpu  # noqa: E402
from convnext_dense.ops import cpu_ops, matmul  # noqa: E402
from convnext_dense.variants import get_variant  # noqa: E402


def time_in_turn(ways: dict[str, Callable], rounds: int, untimed: int) -> dict[str, float]:
    """Each way's median seconds, of ``rounds`` after ``untimed`` ones."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + untimed):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times[untimed:]) for name, times in seconds.items()}


def measure(ways: dict[str, Callable], chosen: str) -> str:
    """'name 1.23 ms, ...', the fastest first."""
    medians = time_in_turn(ways, rounds=15, untimed=2)
    return ', '.join(
        f'{name}{"*" * (name == chosen)} {1e3 * median:.2f}'
        for name, median in sorted(medians.items(), key=lambda item: item[1])
    )


def measure_stage(batch: int, side: int, dim: int) -> list[tuple[str, ...]]:
    x, grad = torch.randn(2, batch, side, side, dim).unbind()
    rows, hidden = x.view(-1, dim), torch.randn(batch * side * side, 4 * dim)
    weight, bias = torch.randn(4 * dim, dim), torch.randn(4 * dim)
    found = [
        (
            'depthwise weight gradient',
            {name: lambda way=way: way(grad, x) for name, way in cpu_ops.DEPTHWISE_METHODS.items()},
            cpu_ops.choose_depthwise_method(x),
        )
    ]
    found += [
        (
            'pwconv1',
            {
                name: lambda way=way: way(rows, weight, bias)
                for name, way in matmul.METHODS['linear'].items()
            },
            matmul.choose_method('linear', rows, weight.shape),
        ),
        (
            "pwconv1's weight gradient",
            {
                name: lambda way=way: way(hidden, rows)
                for name, way in matmul.METHODS['weight_grad'].items()
            },
            matmul.choose_method('weight_grad', rows, weight.shape),
        ),
    ]
    return [
        (f'{batch}x{side}x{side}x{dim}', name, measure(ways, chosen))
        for name, ways, chosen in found
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--size', type=int, default=512, help='of the image (default: 512)')
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--threads', type=int, help="default: torch's")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    table = []
    with torch.no_grad():
        for i, dim in enumerate(get_variant('tiny').dims):
            table += measure_stage(args.batch, args.size // (4 * 2**i), dim)
    print(f'{name_cpu()}, {torch.get_num_threads()} threads, torch {torch.__version__}\n')
    print(format_table(('map', 'operation', 'ms'), table))


if __name__ == '__main__':
    main()
