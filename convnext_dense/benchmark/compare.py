"""Interleaved measuring: each candidate in a fresh process, one run of one of them at a time."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from convnext_dense.benchmark import memory
from convnext_dense.benchmark.plan import Candidate, Setup
from convnext_dense.benchmark.step import Step
from convnext_dense.benchmark.worker import Worker, WorkerError

Log = Callable[[str], None]


@dataclass
class Result:
    """Seconds of each timed run of one candidate under one setup, and bytes.

    ``saved_bytes`` are kept for the backward pass; ``peak_bytes`` are the most that a step uses
    above what was in use before it. ``error`` says why something is missing.
    """

    candidate: Candidate
    setup: Setup
    seconds: list[float] = field(default_factory=list)
    saved_bytes: int | None = None
    peak_bytes: int | None = None
    error: str | None = None
    machine: str | None = None

    @property
    def median(self) -> float | None:
        """Median seconds of the timed runs; None without any."""
        if not self.seconds:
            return None
        return statistics.median(self.seconds)


class Participant:
    """A candidate's process and its result. Once it has failed, every answer is None."""

    def __init__(self, result: Result, log: Log):
        self.result = result
        self._log = log
        environment = {'TORCHINDUCTOR_COMPILE_THREADS': '1'}  # no pool of compilers in each
        if result.setup.threads:
            environment['OMP_NUM_THREADS'] = str(result.setup.threads)
        self._worker = Worker(Step, result.candidate, result.setup, environment=environment)

    def ask(self, question: str) -> Any:
        """The answer of a method of ``Step``."""
        if self.result.error:
            return None
        try:
            return self._worker.ask(question)
        except WorkerError as error:
            self.result.error = str(error)
            self._log(f'{self.result.candidate.label}: {error}')
            self.close()
            return None

    def close(self) -> None:
        """End the process."""
        self._worker.close()


def measure(
    candidates: Sequence[Candidate],
    setup: Setup,
    rounds: int = 5,
    seconds: float = float('inf'),
    log: Log = lambda text: None,
) -> list[Result]:
    """Results in the order of ``candidates``; one that fails has its ``error``, the others go on.

    In each round every candidate has one turn (``setup.untimed`` and ``setup.timed`` runs), in
    random order. Memory is measured after the rounds. Candidates that do not fit into the
    machine's memory together are measured in groups, and only those of a group are interleaved. No
    round begins later than ``seconds`` after the first. ``log`` gets a line of text for each event.
    """
    results = [Result(candidate, setup) for candidate in candidates]
    waiting = list(results)
    while waiting:
        group: list[Participant] = []
        try:
            while waiting and _has_room(group):
                # Each warms up alone, so that no probe or autotuner sees another's work.
                participant = Participant(waiting.pop(0), log)
                group.append(participant)
                participant.result.machine = participant.ask('describe_machine')
                log(f'{participant.result.candidate.label}: started')
            if waiting:
                log(f'no memory for more: measuring {len(group)} networks, then the others')
            _run_rounds(group, rounds, seconds)
            # Only now, as reading memory disturbs the times.
            for participant in group:
                participant.result.peak_bytes = participant.ask('measure_peak')
                participant.result.saved_bytes = participant.ask('count_saved')
                participant.close()
        finally:
            for participant in group:
                participant.close()
    return results


def _has_room(group: Sequence[Participant]) -> bool:
    """Whether one more process may be started: twice the greatest peak so far must be free.

    One such share is for the new process, one for whichever of the others runs.
    """
    available = memory.read_available()
    if len(group) < 2 or available is None:
        return True
    peaks = [participant.ask('read_high_water') or 0 for participant in group]
    return available > 2 * max(peaks)


def _run_rounds(group: Sequence[Participant], rounds: int, seconds: float) -> None:
    order = list(group)
    # A generator of our own: the global one is the user's.
    shuffle = random.Random(0).shuffle
    start = time.monotonic()
    for done in range(rounds):
        if done and time.monotonic() - start > seconds:
            break
        shuffle(order)
        for participant in order:
            participant.result.seconds += participant.ask('time') or []
