"""One candidate under one setup in this process: its runs, their times, and the memory that they take."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import time
from pathlib import Path

import torch
from torch import Tensor

from convnext_dense.benchmark.networks import build, prepare
from convnext_dense.benchmark.plan import Candidate, Setup

_DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}
_STATUS, _CLEAR = Path('/proc/self/status'), Path('/proc/self/clear_refs')


class Step:
    """Builds and warms up; then :meth:`time`, :meth:`count_saved` and :meth:`measure_peak` in any order."""

    def __init__(self, candidate: Candidate, setup: Setup):
        self.setup, self.device = setup, torch.device(setup.device)
        if setup.threads and self.device.type == 'cpu':
            torch.set_num_threads(setup.threads)
        torch.manual_seed(0)
        memory_format = getattr(
            torch, candidate.memory_format.replace('channels_first', 'contiguous_format')
        )
        model = build(candidate.name, setup.arch, setup.drop_path_rate)
        model.train(setup.mode == 'train')
        self.model = model.to(self.device, memory_format=memory_format)
        prepare(candidate.name, self.model)
        self.input = torch.randn(setup.shape).to(self.device, memory_format=memory_format)
        self.call = torch.compile(model, mode=candidate.compile) if candidate.compile else model
        self._gradients: list[Tensor] = []
        for _ in range(3 if candidate.compile else 2):  # a CUDA graph is recorded in the second run
            self.run()
        self._give_back()

    def run(self) -> None:
        """One step, to its end."""
        if self.setup.mode == 'forward':
            with torch.no_grad():
                self._forward()
        else:
            maps = self._forward()
            torch.autograd.backward(maps, self._get_gradients(maps))
            for parameter in self.model.parameters():
                parameter.grad = None
        self._wait()

    def time(self) -> list[float]:
        """Seconds of each timed run of a turn."""
        gc.collect()
        for _ in range(
            max(self.setup.untimed, self.setup.malloc == 'keep')
        ):  # to take what was given back
            self.run()
        seconds = []
        for _ in range(self.setup.timed):
            start = time.perf_counter()
            self.run()
            seconds.append(time.perf_counter() - start)
        self._give_back()
        return seconds

    def count_saved(self) -> int | None:
        """Bytes that forward keeps for backward, without parameters and input; a storage counts once.

        None for 'forward', and for compiled networks: under hooks they run as if they were not compiled.
        """
        if self.setup.mode == 'forward' or self.call is not self.model:
            return None
        own = {
            tensor.untyped_storage().data_ptr() for tensor in (*self.model.parameters(), self.input)
        }
        kept: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            maps = (
                self._forward()
            )  # the name keeps the graph, and with it every storage, from being freed and reused
        del maps
        return sum(kept.values())

    def measure_peak(self) -> int | None:
        """Most bytes in use during a step above those before it; None where the system does not tell."""
        self._give_back()
        if self.device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self.device)
            base = torch.cuda.memory_allocated(self.device)
            self.run()
            return torch.cuda.max_memory_allocated(self.device) - base
        try:
            base = _read_status('VmRSS')
            _CLEAR.write_text('5')
        except OSError:  # not Linux, or not allowed
            return None
        self.run()
        peak = _read_status('VmHWM')
        self._give_back()
        return max(peak - base, 0)

    def read_memory(self) -> tuple[int, int] | None:
        """Bytes of this process, resident now and at most so far; None where the system does not tell."""
        try:
            return _read_status('RssAnon'), _read_status('VmHWM')
        except OSError:
            return None

    def _forward(self) -> list[Tensor]:
        dtype = _DTYPES.get(self.setup.dtype)
        with torch.autocast(self.device.type, dtype) if dtype else contextlib.nullcontext():
            return list(self.call(self.input))

    def _get_gradients(self, maps: list[Tensor]) -> list[Tensor]:
        if not self._gradients:
            self._gradients = [torch.randn_like(y) for y in maps]
        return self._gradients

    def _wait(self) -> None:
        if self.device.type == 'cuda':
            torch.cuda.synchronize(self.device)

    def _give_back(self) -> None:
        """Free memory goes back to the system, so that those who wait their turn hold little."""
        gc.collect()
        if self.device.type == 'cuda':
            torch.cuda.empty_cache()
        with contextlib.suppress(OSError, AttributeError):  # no glibc
            ctypes.CDLL('libc.so.6').malloc_trim(0)


def _read_status(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f'{field}:'))
    return 1024 * int(line.split()[1])
