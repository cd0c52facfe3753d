"""The clock of all benchmarks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import torch


def time_call(call: Callable[[], object], device: str = 'cpu') -> float:
    """Seconds of one call, until its work on ``device`` is done."""
    start = time.perf_counter()
    call()
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def time_in_turn(
    calls: Mapping[str, Callable[[], object]], rounds: int, untimed: int = 0, device: str = 'cpu'
) -> dict[str, float]:
    """Median seconds of each call; the calls take turns, so that a disturbance hits all alike.

    Args:
        calls: name -> function to time.
        rounds: timed turns of each call.
        untimed: turns before these, to warm up.
        device: 'cpu' or 'cuda', where the work is done.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(untimed + rounds):
        for name, call in calls.items():
            seconds[name].append(time_call(call, device))
    return {name: statistics.median(times[untimed:]) for name, times in seconds.items()}
