"""Compile every Triton kernel for sm_80, sm_90 and sm_100 without a GPU, and print what each needs.

    python benchmarks/kernels_aot.py [--arch 90] [--dtype bfloat16] [--only layer_norm]

The launches are recorded on tensors without memory, so that exactly what a GPU would get is
compiled. Registers and stack are for each thread, shared memory is for each program, in bytes.
A stack above 0 means that registers are spilled to memory; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import contextlib
import inspect
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
import triton
from operation_arguments import OPERATIONS, RandomArguments
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

from convnext_dense.kernels import TritonOps, triton_ops

ARCHS = (80, 90, 100)
WIDTHS = (96, 192)  # one that 64 does not divide, one that it does
MAP = (16, 64, 64)  # (N, H, W)
DTYPES = ('bfloat16', 'float16', 'float32')
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


def main() -> int:
    """Print the table; 1 if a kernel spills registers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--arch', type=int, nargs='+', default=ARCHS)
    parser.add_argument('--dtype', nargs='+', default=DTYPES, choices=DTYPES)
    parser.add_argument('--only', nargs='+', default=OPERATIONS, choices=OPERATIONS)
    args = parser.parse_args()
    columns = [f'sm_{arch} registers / stack / shared' for arch in args.arch]
    print('| operation | kernel | dtype | C |', ' | '.join(columns), '|')
    print('|---|---|---|---|' + '---|' * len(args.arch))
    spilled = 0
    for operation in args.only:
        for dtype in args.dtype:
            for channels in WIDTHS:
                for launch in record_operation(operation, channels, getattr(torch, dtype)):
                    used = [launch.measure(arch) for arch in args.arch]
                    spilled += sum(stack > 0 for _, stack, _ in used)
                    cells = [operation, launch.name, dtype, str(channels)]
                    cells += [' / '.join(map(str, numbers)) for numbers in used]
                    print('|', ' | '.join(cells), '|', flush=True)
    print(f'\n{spilled} spilled; triton {triton.__version__}')
    return int(spilled > 0)


if __name__ == '__main__':
    sys.exit(main())
