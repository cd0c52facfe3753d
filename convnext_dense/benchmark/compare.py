"""Interleaved measuring: every candidate in a process of its own, all alive, one run of one of them at a time."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from convnext_dense.benchmark.networks import ASIDE
from convnext_dense.benchmark.plan import Candidate, Setup

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
# Greatest values that glibc takes: it ignores a pad beyond half of its address range without a word.
_MALLOC = {
    'default': {},
    'exact': dict(MALLOC_MMAP_THRESHOLD_='65536'),
    'keep': dict(
        MALLOC_MMAP_MAX_='0', MALLOC_TRIM_THRESHOLD_='17179869184', MALLOC_TOP_PAD_='268435456'
    ),
}
_COMPILED_BYTES = 2 * 10**8  # what a worker keeps beyond an eager one's, at most


class WorkerError(RuntimeError):
    """A candidate could not be built or run; the text says why."""


@dataclass
class Result:
    """Of one candidate: ``seconds`` of each timed run, bytes saved for backward, peak bytes of a step over its base."""

    candidate: Candidate
    setup: Setup
    seconds: list[float] = field(default_factory=list)
    saved_bytes: int | None = None
    peak_bytes: int | None = None
    error: str | None = None
    start_seconds: float | None = None  # to import, build, compile and warm up
    device: str | None = None
    threads: int | None = None

    @property
    def median(self) -> float | None:
        return statistics.median(self.seconds) if self.seconds else None


class Worker:
    """A worker process; :meth:`ask` waits for its answer."""

    def __init__(self, candidate: Candidate, setup: Setup):
        self._errors = tempfile.TemporaryFile('w+')
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'convnext_dense.benchmark.worker'],
            env=_make_environment(candidate, setup),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self._first = dict(candidate=asdict(candidate), setup=asdict(setup))

    def build(self) -> dict:
        """Wait until it is warm: seconds that took, threads, device."""
        return self._exchange(self._first)

    def ask(self, question: str):
        return self._exchange(dict(ask=question))['answer']

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            try:
                stream.close()
            except BrokenPipeError:  # it died with a question unread
                pass

    def _exchange(self, message: dict) -> dict:
        try:
            print(json.dumps(message), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            pass  # the reason is read below
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else dict(error=self._get_last_words())
        if 'error' in answer:
            raise WorkerError(answer['error'])
        return answer

    def _get_last_words(self) -> str:
        code = self._process.wait()
        if code == -9:
            return 'killed by the system, most likely out of memory'
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return f'ended with code {code}: {lines[-1] if lines else "no message"}'


def measure(
    candidates: Sequence[Candidate],
    setup: Setup,
    rounds: int = 5,
    seconds: float = float('inf'),
    log: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Results in the order of ``candidates``; one that fails has its ``error`` and the others go on.

    A round is one turn (``setup.untimed`` and ``setup.timed`` runs) of each, in random order. Rounds end after
    ``rounds``, or when ``seconds`` have passed since the first began, but not before one is complete. Memory is
    measured after them, at rest. Where the machine's memory is too small for all of them at once, they are measured in
    groups, which the log tells: then only those of a group are interleaved.
    """
    results = [Result(candidate, setup) for candidate in candidates]
    at_once = _count_fitting(candidates[0], setup) if len(results) > 2 else 2
    if len(results) > at_once:
        log(
            f'memory for {at_once} networks at once: measuring in groups of so many, one after the other'
        )
    for first in range(0, len(results), at_once):
        _measure_group(results[first : first + at_once], rounds, seconds, log)
    return results


def _measure_group(
    results: Sequence[Result], rounds: int, seconds: float, log: Callable[[str], None]
) -> None:
    workers: dict[int, Worker] = {}

    def ask(i: int, question: str):
        try:
            return workers[i].ask(question)
        except WorkerError as error:
            results[i].error = str(error)
            workers.pop(i).close()
            log(f'{results[i].candidate.label}: {error}')

    try:
        _start_all(workers, results, log)
        _run_rounds(workers, results, rounds, seconds, ask)
        for i in list(workers):
            results[i].peak_bytes = ask(i, 'measure_peak')
            results[i].saved_bytes = ask(i, 'count_saved') if i in workers else None
            if i in workers:
                workers.pop(
                    i
                ).close()  # done; where nothing is given back it holds twice what it held before
    finally:
        for worker in workers.values():
            worker.close()


def _count_fitting(candidate: Candidate, setup: Setup) -> int:
    """How many workers may wait at once beside one that runs, if none takes a fifth more than this one; 2 where it
    cannot be run, and 64 where the system does not tell."""
    worker = Worker(candidate, setup)
    try:
        worker.build()
        memory, lines = worker.ask('read_memory'), Path('/proc/meminfo').read_text().splitlines()
    except WorkerError:
        return 2
    except OSError:
        return 64
    finally:
        worker.close()
    free = next(
        (int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable:')), None
    )
    if free is None or memory is None:
        return 64
    waiting, running = memory
    return max(int((free - 1.2 * running) / (1.2 * waiting + _COMPILED_BYTES)), 2)


def _start_all(
    workers: dict[int, Worker], results: Sequence[Result], log: Callable[[str], None]
) -> None:
    """All import at once. Compiling takes a minute each, so peers are built side by side on a CPU. Ours, and a GPU's,
    are built alone: a probe or an autotuner must not see another's work."""

    def build(i: int) -> None:
        result = results[i]
        try:
            facts = workers[i].build()
            result.start_seconds, result.device, result.threads = (
                facts['seconds'],
                facts['device'],
                facts['threads'],
            )
        except WorkerError as error:
            result.error = str(error)
            workers.pop(i).close()
        log(
            f'{result.candidate.label}: '
            + (result.error or f'ready after {result.start_seconds:.0f} s')
        )

    for i, result in enumerate(results):
        workers[i] = Worker(result.candidate, result.setup)
    together = [
        i
        for i, result in enumerate(results)
        if result.candidate.is_peer and result.setup.device == 'cpu'
    ]
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        list(pool.map(build, together))
    for i in range(len(results)):
        if i not in together:
            build(i)


def _run_rounds(
    workers: dict[int, Worker], results: list[Result], rounds: int, seconds: float, ask: Callable
) -> None:
    order, shuffle = list(workers), random.Random(0).shuffle
    start = time.monotonic()
    for done in range(rounds):
        if done and time.monotonic() - start > seconds:
            break
        shuffle(order)
        for i in order:
            results[i].seconds += (ask(i, 'time') or []) if i in workers else []


def _make_environment(candidate: Candidate, setup: Setup) -> dict[str, str]:
    """The user's, with the package on the path, and one process for torch.compile in place of a pool."""
    paths = [str(_PACKAGE_ROOT), os.environ.get('PYTHONPATH')]
    if candidate.name == 'mmpretrain' and ASIDE.is_dir():
        paths.append(str(ASIDE))
    extra = dict(PYTHONPATH=os.pathsep.join(filter(None, paths)), TORCHINDUCTOR_COMPILE_THREADS='1')
    if setup.threads:
        extra['OMP_NUM_THREADS'] = str(setup.threads)
    return os.environ | extra | _MALLOC[setup.malloc]
