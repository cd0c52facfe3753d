"""Choosing the fastest of several equivalent calls by timing them."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

# Another call replaces the first one only where it takes less than this part of its time.
_MARGIN = 0.9


def fastest(calls: Mapping[str, Callable[[], Any]]) -> str:
    """The name of the fastest call; the first name unless another call is clearly faster."""
    seconds = {}
    for name, call in calls.items():
        seconds[name] = _time(call)
    first = next(iter(calls))
    best = min(seconds, key=lambda name: seconds[name])
    if seconds[best] < _MARGIN * seconds[first]:
        return best
    return first


@torch.no_grad()
def _time(call: Callable[[], Any]) -> float:
    """Seconds of the faster of two calls, after one that warms up."""
    call()
    times = []
    for _ in range(2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
