"""What the parts of ``gpu.py`` share: the report on disk, the clock, and the times of calls."""

from __future__ import annotations

import functools
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from gpu_table import winners

from convnext_dense.benchmark.report import describe_error

BROKEN = 3  # exit status of a process whose GPU takes no more work: the next one goes on behind what broke it
UNFINISHED = {'error': 'did not finish'}
_HIDDEN_CYCLES = 1_000_000  # half a millisecond in which the launches of a short call are queued
_LEAST, _MOST = 3, 40  # rounds
_STEPS = 2  # in a row where no cache is emptied: the second is queued while the first runs, as in a training run


class Run:
    """One process's part of a run: writes the report after each item, and starts none when its time is over.

    Args:
        file: the report. What is in there already, of a process that broke, is not measured again.
        ends: when this process should be done, in seconds since the epoch.
    """

    def __init__(self, file: Path, ends: float):
        self.file, self.ends, self.report = file, ends, json.loads(file.read_text())
        self.toy = self.report['settings']['toy']
        self.device = 'cpu' if self.toy else 'cuda'
        self.dtype = (
            torch.float16 if self.toy else torch.bfloat16
        )  # Triton's interpreter has no bf16 products
        if not self.toy:
            size = 2 * torch.cuda.get_device_properties(0).L2_cache_size
            self._cache = torch.empty(size, dtype=torch.int8, device=self.device)

    @functools.cached_property
    def winners(self) -> dict[str, str]:
        """``dispatch.MEASURED`` as the operations that were measured before ask for it."""
        return winners(self.report)

    def left(self) -> float:
        return self.ends - time.time()

    def at(self, *keys: str) -> dict:
        """The report's dict below ``keys``, made where it is not there."""
        place = self.report
        for key in keys:
            place = place.setdefault(key, {})
        return place

    def write(self) -> None:
        new = self.file.with_suffix('.new')
        new.write_text(json.dumps(self.report, indent=1) + '\n')
        new.replace(self.file)

    def item(
        self, place: dict, name: str, function: Callable[[], object], needs: float = 1.0
    ) -> object:
        """``place[name] = function()``, or the reason why not; a process that dies in it leaves one too."""
        if name in place:
            return place[name]
        if self.left() < needs:
            place[name] = {
                'not run': f'{needs:.0f} s may be needed, {max(self.left(), 0):.0f} s were left'
            }
            return place[name]
        place[name] = UNFINISHED
        self.write()
        try:
            place[name] = function()
        except Exception as error:
            place[name] = {'error': describe_error(error)}
        self.check_gpu()
        self.write()
        return place[name]

    def times(
        self, calls: dict[str, Callable], seconds: float, cold: bool = False
    ) -> dict[str, float]:
        """Median milliseconds of each call, all in turn, in rounds for ``seconds``.

        Args:
            cold: the cache is emptied before each, and launching is not counted: for single operations.
        """
        taken, start = {name: [] for name in calls}, time.perf_counter()
        for done in range(1 if self.toy else _MOST):
            if done >= _LEAST and time.perf_counter() - start > seconds:
                break
            for name, call in calls.items():
                taken[name].append(self._clock(call, cold))
        return {name: float(f'{statistics.median(values):.4g}') for name, values in taken.items()}

    def free(self) -> None:
        gc.collect()
        if not self.toy:
            torch.cuda.empty_cache()

    def _clock(self, call: Callable, cold: bool) -> float:
        if self.toy:
            start = time.perf_counter()
            call()
            return 1000 * (time.perf_counter() - start)
        steps = 1 if cold else _STEPS
        if cold:
            self._cache.zero_()
            torch.cuda._sleep(_HIDDEN_CYCLES)
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(steps):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / steps

    def check_gpu(self) -> None:
        """After an illegal access a process can do nothing more on its GPU; out of memory is no such thing."""
        try:
            if not self.toy:
                torch.cuda.synchronize()
        except RuntimeError:
            self.write()
            sys.stderr.flush()
            os._exit(BROKEN)
