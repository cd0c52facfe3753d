"""Kernels compiled without a GPU, for any architecture.

The launches are recorded on tensors without memory, so that exactly what a GPU would get is
compiled.
"""

from __future__ import annotations

import contextlib
import inspect
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from convnext_dense.kernels import TritonOps, triton_ops
from convnext_dense.kernels.random_arguments import RandomArguments

# Architecture -> bytes of shared memory that a program can have.
SHARED_BYTES = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}
WIDTHS = (96, 192)  # one that 64 does not divide, one that it does
MAP = (16, 64, 64)  # (N, H, W)
POINTERS = {torch.float32: '*fp32', torch.float16: '*fp16', torch.bfloat16: '*bf16'}
OPTIONS = ('num_warps', 'num_stages')
CUOBJDUMP = Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin' / 'cuobjdump'


@dataclass
class Launch:
    """A recorded launch: the kernel, its arguments by name, compiler options, programs."""

    kernel: JITFunction
    arguments: dict
    options: dict
    programs: int

    @property
    def name(self) -> str:
        """Name of the kernel in tables."""
        return self.kernel.__name__.removesuffix('_kernel')

    def make_source(self) -> ASTSource:
        """The kernel, specialized as Triton does it for these arguments."""
        parameters = {parameter.name: parameter for parameter in self.kernel.params}
        signature, constants, attributes = {}, {}, {}
        for index, (name, value) in enumerate(self.arguments.items()):
            divisible = False
            if parameters[name].is_constexpr:
                signature[name] = 'constexpr'
                constants[name] = value
            elif isinstance(value, torch.Tensor):
                signature[name] = POINTERS[value.dtype]
                divisible = True  # torch's allocations are aligned
            elif isinstance(value, float):
                signature[name] = 'fp32'
            else:
                signature[name] = 'i32'
                divisible = value % 16 == 0 and not parameters[name].do_not_specialize
            if divisible:
                attributes[(index,)] = [['tt.divisibility', 16]]
        return ASTSource(self.kernel, signature, constants, attributes)

    def compile(self, arch: int):
        """Triton's compiled kernel for ``arch``, e.g. 90."""
        target = GPUTarget('cuda', arch, 32)
        return triton.compile(self.make_source(), target=target, options=self.options)

    def measure(self, arch: int) -> tuple[int, int, int]:
        """Registers and bytes of stack of a thread, and bytes of shared memory of a program."""
        compiled = self.compile(arch)
        with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
            file.write(compiled.asm['cubin'])
            file.flush()
            command = [CUOBJDUMP, '--dump-resource-usage', file.name]
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        registers, stack = re.search(r'REG:(\d+) STACK:(\d+)', text).groups()
        return int(registers), int(stack), compiled.metadata.shared


@contextlib.contextmanager
def recorded_launches() -> Iterator[list[Launch]]:
    """A list to which the launches inside the block are added; none of them runs."""
    launches: list[Launch] = []

    def record(kernel, *args, grid, warmup, **constants):
        options = {name: constants.pop(name) for name in OPTIONS if name in constants}
        named = inspect.signature(kernel.fn).bind(*args, **constants).arguments
        launches.append(Launch(kernel, named, options, grid[0]))

    with (
        mock.patch.object(JITFunction, 'run', record),
        mock.patch.object(triton_ops, 'find_reasons', return_value=[]),
    ):
        yield launches


def record_operation(operation: str, channels: int, dtype: torch.dtype) -> list[Launch]:
    """What an operation launches for feature maps of ``channels`` channels."""
    arguments = getattr(RandomArguments(MAP, channels, dtype, 'meta'), operation)()
    with recorded_launches() as launches:
        getattr(TritonOps(), operation)(*arguments)
    return launches
