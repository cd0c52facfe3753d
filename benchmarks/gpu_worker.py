"""What ``gpu.py`` measures in its worker process: the device, an operation, a backbone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

import torch
import triton

from convnext_dense import ops
from convnext_dense.benchmark.plan import Candidate, Setup
from convnext_dense.benchmark.step import Step
from convnext_dense.benchmark.timing import time_call
from convnext_dense.kernels import TritonOps
from convnext_dense.kernels.random_arguments import RandomArguments, run
from convnext_dense.ops import TorchOps


class GpuWorker:
    """Measures on ``device``: 'cuda', or 'cpu' to show at toy sizes that everything runs."""

    def __init__(self, device: str):
        self.device = device
        self.default_ops = ops.BY_DEVICE[device]
        if device == 'cpu':
            # At toy size, compiling would take most of the time.
            torch.compiler.set_stance('force_eager')
        torch.backends.cudnn.benchmark = True

    def describe_device(self) -> dict:
        """Name and versions, and what the device reaches: TFLOP/s of bf16 and TB/s of a copy."""
        if self.device == 'cpu':
            return {'name': 'CPU and the interpreter of Triton: no time here means anything'}
        side = 8192
        a = torch.randn(side, side, device='cuda', dtype=torch.bfloat16)
        source = torch.randn(2**28, device='cuda')
        target = torch.empty_like(source)
        matmul_ms = self._time(lambda: a @ a)
        copy_ms = self._time(lambda: target.copy_(source))
        return {
            'name': torch.cuda.get_device_name(),
            'cudnn': torch.backends.cudnn.version(),
            'triton': triton.__version__,
            'matmul_tflops': 2 * side**3 / matmul_ms / 1e9,
            'copy_tb_per_s': 2 * source.nbytes / copy_ms / 1e9,
        }

    def measure_operation(self, operation: str, shape: Sequence[int], dtype: str) -> dict:
        """Milliseconds of an operation by torch, by compiled torch and by its kernel.

        Args:
            operation: a name of ``OPERATIONS``.
            shape: (N, H, W, C) of the block's map.
            dtype: of the maps, e.g. 'bfloat16'.

        Returns:
            torch_ms, compiled_ms, triton_ms, and the largest relative difference between an output
            of the kernel and that of torch.
        """
        maps = RandomArguments(tuple(shape[:3]), shape[3], getattr(torch, dtype), self.device)
        arguments = getattr(maps, operation)()
        by_torch = getattr(TorchOps(), operation)
        by_kernel = getattr(TritonOps(), operation)
        expected = run(TorchOps(), operation, arguments)
        outputs = run(TritonOps(), operation, arguments)
        compiled = torch.compile(by_torch, dynamic=False)
        return {
            'difference': max(map(_difference, outputs, expected)),
            'torch_ms': self._time(lambda: by_torch(*arguments)),
            'triton_ms': self._time(lambda: by_kernel(*arguments)),
            'compiled_ms': self._time(lambda: compiled(*arguments)),
        }

    def measure_backbone(self, candidate: Candidate, setup: Setup, use_triton: bool) -> dict:
        """Milliseconds of a step; bytes kept for backward (eager training only) and peak bytes."""
        ops.BY_DEVICE[self.device] = TritonOps() if use_triton else self.default_ops
        step = Step(candidate, replace(setup, device=self.device))
        return {
            'ms': 1e3 * median(step.time()),
            'saved_bytes': step.count_saved(),
            'peak_bytes': step.measure_peak(),
        }

    def _time(self, call: Callable[[], object]) -> float:
        """Median milliseconds of a call, on a GPU with its L2 cache emptied before each."""
        if self.device == 'cpu':
            return 1e3 * time_call(call)
        return triton.testing.do_bench(call, return_mode='median')


def _difference(output: torch.Tensor, expected: torch.Tensor) -> float:
    if not output.isfinite().all():
        raise ArithmeticError('the kernel returned inf or NaN')  # a record cannot hold them
    exact = expected.double()
    return float((output - exact).norm() / exact.norm())
