"""A forward pass or a training step of one network in this process: its times and its memory."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from convnext_dense.benchmark import memory
from convnext_dense.benchmark.networks import build
from convnext_dense.benchmark.plan import Candidate, Setup
from convnext_dense.benchmark.records import name_cpu
from convnext_dense.benchmark.timing import time_call

_AUTOCAST = {'bf16': torch.bfloat16, 'fp16': torch.float16}
_MEMORY_FORMATS = {
    'channels_first': torch.contiguous_format,
    'channels_last': torch.channels_last,
}


class Step:
    """Builds a candidate and warms it up; then measures it in any order.

    Args:
        candidate: which network, and how it runs.
        setup: on what it runs.
        network: measured instead of a new one, e.g. the backbone of a whole model.
    """

    def __init__(self, candidate: Candidate, setup: Setup, network: nn.Module | None = None):
        if setup.threads and setup.device == 'cpu':
            torch.set_num_threads(setup.threads)
        torch.manual_seed(0)
        if network is None:
            network = build(candidate.name, setup.arch, setup.drop_path_rate)
        place: dict[str, Any] = {
            'device': setup.device,
            'memory_format': _MEMORY_FORMATS[candidate.memory_format],
        }
        self.setup = setup
        self.network = network.to(**place)
        self.network.train(setup.mode == 'train')
        if candidate.name == 'ours inference':
            cast(Any, network).optimize_for_inference()
        self.images = torch.randn(setup.shape).to(**place)
        self.is_compiled = bool(candidate.compile)
        self.call: Callable = self.network
        if self.is_compiled:
            self.call = torch.compile(self.network, mode=candidate.compile)
        self._map_gradients: list[Tensor] = []
        # The first run allocates or compiles, the second records a CUDA graph.
        for _ in range(3 if self.is_compiled else 2):
            time_call(self.run, setup.device)
        memory.release_free_memory()

    def describe_machine(self) -> str:
        """The GPU, or the CPU and the number of threads."""
        if self.setup.device == 'cuda':
            return torch.cuda.get_device_name()
        return f'{name_cpu()}, {torch.get_num_threads()} threads'

    def run(self) -> None:
        """One pass; on a GPU its work is queued."""
        if self.setup.mode == 'forward':
            with torch.no_grad():
                self._forward()
            return
        maps = self._forward()
        # Drawn once: the same gradients in each step, and no time for random numbers.
        if not self._map_gradients:
            self._map_gradients = [torch.randn_like(y) for y in maps]
        torch.autograd.backward(maps, self._map_gradients)
        self.network.zero_grad()

    def time(self) -> list[float]:
        """Seconds of each timed run of one turn."""
        gc.collect()
        # The process gave its memory back after its last turn, and must fetch it again.
        for _ in range(self.setup.untimed):
            time_call(self.run, self.setup.device)
        seconds = [time_call(self.run, self.setup.device) for _ in range(self.setup.timed)]
        memory.release_free_memory()
        return seconds

    def measure_peak(self) -> int | None:
        """Peak bytes of a step above those before it; None where the system does not tell."""
        return memory.measure_peak(self.run, self.setup.device)

    def count_saved(self) -> int | None:
        """Bytes that forward keeps for backward, without parameters and input.

        None in mode 'forward', and for a compiled network: the hooks that count would make it run
        uncompiled.
        """
        if self.setup.mode == 'forward' or self.is_compiled:
            return None
        return memory.count_saved_bytes(self._forward, [*self.network.parameters(), self.images])

    def read_high_water(self) -> int | None:
        """Highest resident bytes of this process so far; None where the system does not tell."""
        return memory.read_own('VmHWM')

    def _forward(self) -> list[Tensor]:
        dtype = _AUTOCAST.get(self.setup.dtype)
        with torch.autocast(self.setup.device, dtype, enabled=dtype is not None):
            return list(self.call(self.images))
