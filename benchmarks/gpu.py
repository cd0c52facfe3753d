"""Our backbones and Triton kernels against torch and other libraries on a GPU: tables and JSON.

    python benchmarks/gpu.py                             # at most about 8 minutes
    python benchmarks/gpu.py --arch base --shape 2 3 800 1344
    python benchmarks/gpu.py --toy                       # on a CPU: shows that everything runs

In a checkout that is not installed, put ``PYTHONPATH=.`` before the command. Nothing starts after
``--minutes``. The JSON is written after every measurement, so an aborted run keeps its results.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from gpu_worker import GpuWorker

from convnext_dense.benchmark.memory import MIB
from convnext_dense.benchmark.networks import PEERS, find_reason_missing
from convnext_dense.benchmark.plan import MODES, Candidate, Setup, list_candidates
from convnext_dense.benchmark.records import format_number, format_table, log, write_record
from convnext_dense.benchmark.worker import Worker, WorkerError
from convnext_dense.kernels.random_arguments import OPERATIONS
from convnext_dense.variants import get_variant

PARTS = ('backbones', 'operations')
TOY_ARCH = dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))
DTYPES = {'bf16': 'bfloat16', 'fp16': 'float16'}
# Network, whether it runs with our kernels, modes. In inference nothing is kept, so one of our
# memory modes stands for all.
OURS = [
    (Candidate('ours full'), False, ['train']),
    (Candidate('ours low'), False, ['train']),
    (Candidate('ours half'), False, MODES),
    (Candidate('ours half'), True, MODES),
]
TOY_OURS = [(Candidate('ours half'), True, ['forward'])]  # the interpreter takes seconds for a pass


class Run:
    """The measurements of one call of this script, and the process that makes them."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        self.end = time.monotonic() + 60 * args.minutes
        self.settings = {name: str(value) for name, value in vars(args).items()}
        self.results: list[dict[str, Any]] = []
        self.worker: Worker | None = None

    def measure(self, facts: dict[str, Any], method: str, *arguments: object) -> None:
        """Add ``facts`` and the answer of the worker's method, or its error, to the results."""
        if time.monotonic() > self.end:
            return
        log(', '.join(str(value) for value in facts.values()))
        if self.worker is None and self.args.toy:
            self.worker = Worker(GpuWorker, 'cpu', environment={'TRITON_INTERPRET': '1'})
        elif self.worker is None:
            self.worker = Worker(GpuWorker, 'cuda')
        try:
            answer = self.worker.ask(method, *arguments)
        except WorkerError as error:
            answer = {'error': str(error)}
            log(str(error))
            self.close()  # an error of the GPU stays in its process; the next one is fresh
        self.results.append(facts | answer)
        write_record(self.args.out, self.results, settings=self.settings)

    def close(self) -> None:
        """End the process."""
        if self.worker is not None:
            self.worker.close()
        self.worker = None


def measure_backbones(run: Run, setup: Setup) -> None:
    """All networks eager; then, for each mode, the fastest peer and ours 'full' compiled."""
    peers = list_candidates([name for name in run.args.peers if not find_reason_missing(name)])
    networks = [(peer, False, MODES) for peer in peers]
    for candidate, use_triton, modes in networks + (TOY_OURS if run.args.toy else OURS):
        for mode in modes:
            measure_backbone(run, candidate, replace(setup, mode=mode), use_triton)
    for mode in MODES:
        measured = [r for r in select(run, 'backbone', mode) if r['network'] in PEERS]
        candidates = [Candidate('ours full', compile='default')]
        if measured:
            fastest = min(measured, key=lambda r: r['ms'])
            candidates.append(Candidate(fastest['network'], fastest['format'], 'default'))
        for candidate in candidates:
            measure_backbone(run, candidate, replace(setup, mode=mode), use_triton=False)


def measure_backbone(run: Run, candidate: Candidate, setup: Setup, use_triton: bool) -> None:
    """One network under one setup."""
    label = candidate.label + (', Triton' if use_triton else '')
    network = dict(network=candidate.name, format=candidate.memory_format)
    facts = dict(kind='backbone', mode=setup.mode, label=label, **network)
    run.measure(facts, 'measure_backbone', candidate, setup, use_triton)


def measure_operations(run: Run, setup: Setup) -> None:
    """Every operation that has a kernel, on the maps of stages 1 and 3, then of 2 and 4."""
    samples, _, height, width = setup.shape
    dims = get_variant(setup.arch).dims
    for stage in (0,) if run.args.toy else (0, 2, 1, 3):
        stride = 4 * 2**stage
        shape = (samples, height // stride, width // stride, dims[stage])
        for operation in OPERATIONS:
            facts = dict(kind='operation', operation=operation, shape=shape, dtype=setup.dtype)
            run.measure(facts, 'measure_operation', operation, shape, DTYPES[setup.dtype])


def select(run: Run, kind: str, mode: str | None = None) -> list[dict[str, Any]]:
    """The complete results of a kind, for backbones those of one mode."""
    results = [r for r in run.results if r['kind'] == kind and 'error' not in r]
    return [r for r in results if mode is None or r['mode'] == mode]


def format_backbones(run: Run, mode: str) -> str:
    """A row for each network; above 1 is faster than the fastest peer, compiled ones included."""
    results = sorted(select(run, 'backbone', mode), key=lambda r: r['ms'])
    fastest = min((r['ms'] for r in results if r['network'] in PEERS), default=None)
    rows = []
    for result in results:
        ratio = fastest / result['ms'] if fastest else None
        times = [format_number(value, digits=2) for value in (result['ms'], ratio)]
        saved = format_number(result['saved_bytes'], MIB, digits=0)
        peak = format_number(result['peak_bytes'], MIB, digits=0)
        rows.append([result['label'], *times, saved, peak])
    return format_table([mode, 'ms', 'x fastest peer', 'saved MiB', 'peak MiB'], rows)


def format_operations(run: Run) -> str:
    """A row for each operation and map; above 1 the kernel is faster than both forms of torch."""
    rows = []
    for result in select(run, 'operation'):
        times = [result['torch_ms'], result['compiled_ms']]
        row = [result['operation'], 'x'.join(map(str, result['shape']))]
        for value in (*times, result['triton_ms']):
            row.append(format_number(value, digits=3))
        row.append(format_number(min(times) / result['triton_ms'], digits=2))
        rows.append([*row, f'{result["difference"]:.1e}'])
    columns = ['operation', 'map', 'torch ms', 'compiled ms', 'Triton ms', 'gain', 'difference']
    return format_table(columns, rows)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the tables and write the record; 1 if an error occurred."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--minutes', type=float, default=7.5)
    parser.add_argument('--only', nargs='+', choices=PARTS, default=PARTS)
    parser.add_argument('--arch', default='tiny')
    parser.add_argument('--shape', type=int, nargs=4, default=(16, 3, 512, 512))
    parser.add_argument('--dtype', choices=DTYPES, default='bf16')
    parser.add_argument('--peers', nargs='*', choices=PEERS, default=list(PEERS))
    parser.add_argument('--toy', action='store_true')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/gpu.json'))
    args = parser.parse_args(arguments)
    if not args.toy and not torch.cuda.is_available():
        parser.error('torch finds no GPU; --toy runs without one')
    setup = Setup(args.arch, tuple(args.shape), dtype=args.dtype, untimed=5, timed=20)
    if args.toy:
        # The interpreter of Triton cannot multiply bf16.
        setup = Setup(TOY_ARCH, (1, 3, 32, 32), dtype='fp16')
    run = Run(args)
    run.measure({'kind': 'device'}, 'describe_device')
    if 'backbones' in args.only:
        measure_backbones(run, setup)
    if 'operations' in args.only:
        measure_operations(run, setup)
    run.close()
    for mode in MODES:
        print(format_backbones(run, mode), end='\n\n')
    print(format_operations(run), end='\n\n')
    errors = [result for result in run.results if 'error' in result]
    print(*select(run, 'device'), *errors, sep='\n')
    return int(bool(errors))


if __name__ == '__main__':
    sys.exit(main())
