"""Compiles every Triton kernel for sm_80, sm_90 and sm_100 without a GPU, and prints what each asks of one.

    python benchmarks/kernels_aot.py [--arch 90] [--dtype bfloat16] [--only layer_norm]

The launchers run on tensors without memory and their launches are recorded: what is compiled is what a GPU would get.
Registers are for each thread. A stack above 0 bytes means that values are spilled to memory; the exit status is then 1.
"""

import argparse
import contextlib
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
import triton
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, make_backend
from triton.runtime.jit import JITFunction

from convnext_dense.ops import dispatch, registered

ARCHS = (80, 90, 100)
# Each dtype, and widths: one that 64 does not divide, one that it does. Kernels with a limit run at that one too.
WIDTHS = {'bfloat16': (96, 192), 'float16': (192,), 'float32': (96, 192)}
POINTER = {torch.float32: '*fp32', torch.float16: '*fp16', torch.bfloat16: '*bf16'}
OPTIONS = {'num_warps', 'num_stages'}
CUOBJDUMP = Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin' / 'cuobjdump'


@dataclass
class Launch:
    """A recorded launch: kernel, arguments by name, options of the compiler, programs."""

    kernel: JITFunction
    arguments: dict
    options: dict
    programs: int

    def source(self) -> ASTSource:
        constants = {
            name: value for name, value in self.arguments.items() if self._param(name).is_constexpr
        }
        signature = {
            name: 'constexpr' if name in constants else self._type(value)
            for name, value in self.arguments.items()
        }
        aligned = [
            index
            for index, (name, value) in enumerate(self.arguments.items())
            if self._divides(name, value)
        ]
        return ASTSource(
            fn=self.kernel,
            signature=signature,
            constexprs=constants,
            attrs={(index,): [['tt.divisibility', 16]] for index in aligned},
        )

    def compile(self, arch: int):
        return triton.compile(
            self.source(), target=GPUTarget('cuda', arch, 32), options=self.options
        )

    def first_form(self) -> str:
        """Triton's own first form of the kernel, before any pass, as text."""
        context, target = ir.context(), GPUTarget('cuda', 90, 32)
        backend = make_backend(target)
        ir.load_dialects(context)
        backend.load_dialects(context)
        options = backend.parse_options(dict(self.options))
        return str(
            self.source().make_ir(
                target,
                options,
                backend.get_codegen_implementation(options),
                backend.get_module_map(),
                context,
            )
        )

    def _param(self, name: str):
        return next(param for param in self.kernel.params if param.name == name)

    def _divides(self, name: str, value) -> bool:
        if isinstance(value, torch.Tensor):
            return True  # torch's allocations are aligned
        return (
            isinstance(value, int)
            and not (self._param(name).is_constexpr or self._param(name).do_not_specialize)
            and value % 16 == 0
        )

    @staticmethod
    def _type(value) -> str:
        if isinstance(value, torch.Tensor):
            return POINTER[value.dtype]
        return 'fp32' if isinstance(value, float) else 'i32'


@contextlib.contextmanager
def recorded():
    """A list that the launches of the block are added to; none of them runs."""
    launches, run = [], JITFunction.run

    def record(self, *args, grid, warmup, **kwargs):
        options = {name: kwargs.pop(name) for name in OPTIONS & kwargs.keys()}
        launches.append(
            Launch(self, {**dict(zip(self.arg_names, args)), **kwargs}, options, grid[0])
        )

    JITFunction.run = record
    try:
        yield launches
    finally:
        JITFunction.run = run


def arguments_of(operation: str, channels: int, dtype: torch.dtype) -> tuple:
    """Arguments without memory, as from a batch of 16: activations and factors in ``dtype``, the rest in fp32."""

    def empty(*shape, dtype=torch.float32):
        return torch.empty(shape, dtype=dtype, device='meta')

    side = (16, 64, 64)
    x, wide = empty(*side, channels, dtype=dtype), empty(*side, 4 * channels, dtype=dtype)
    vector, hidden, scale, statistic = empty(channels), empty(4 * channels), empty(16), empty(*side)
    filters, widen, narrow = (
        empty(*shape, dtype=dtype)
        for shape in [(channels, 1, 7, 7), (4 * channels, channels), (channels, 4 * channels)]
    )
    return {
        'depthwise_conv': (x, filters, vector),
        'depthwise_input_grad': (x, filters, x),
        'depthwise_weight_grad': (x, x),
        'depthwise_normalize': (x, filters, vector),
        'normalize_backward': (x, x, statistic),
        'layer_norm': (x, vector, vector),
        'layer_norm_backward': (x, x, statistic, statistic, vector),
        'linear_gelu': (x, widen, hidden),
        'linear_residual': (wide, narrow, vector, vector, scale, empty(*side, channels)),
        'gelu_backward': (wide, wide, scale),
        'mlp_backward': (x, widen, hidden, x, narrow, scale),
        'global_response_norm': (wide, hidden, hidden),
        'global_response_norm_backward': (wide, wide, hidden),
    }[operation]


def launches_of(operation: str, channels: int, dtype: torch.dtype) -> list[Launch]:
    """What an operation launches for a width."""
    arguments = arguments_of(operation, channels, dtype)
    with recorded() as launches:
        registered.kernel(operation)(*arguments)
    return launches


def resources(compiled) -> tuple[int, int, int]:
    """Registers for each thread, and bytes of stack for each thread and of shared memory for each program."""
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(compiled.asm['cubin'])
        file.flush()
        command = [CUOBJDUMP, '--dump-resource-usage', file.name]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = re.search(r'REG:(\d+) STACK:(\d+)', shown).groups()
    return int(registers), int(stack), compiled.metadata.shared


def widths(operation: str, dtype: str) -> list[int]:
    """Those of WIDTHS that an operation takes, and the widest that it takes."""
    limit = dispatch.WIDEST.get(operation, 1 << 30)
    return sorted(
        {
            min(channels, limit)
            for channels in (*WIDTHS[dtype], *([limit] if limit < 1 << 30 else []))
        }
    )


def rows(archs: list[int], dtypes: list[str], operations: list[str]):
    for operation in operations:
        for dtype in dtypes:
            for channels in widths(operation, dtype):
                for launch in launches_of(operation, channels, getattr(torch, dtype)):
                    used = [resources(launch.compile(arch)) for arch in archs]
                    name = launch.kernel.__name__.removesuffix('_kernel')
                    yield operation, name, dtype, channels, launch.options['num_warps'], used


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--arch', type=int, nargs='+', default=ARCHS)
    parser.add_argument('--dtype', nargs='+', default=list(WIDTHS), choices=WIDTHS)
    parser.add_argument(
        '--only', nargs='+', default=dispatch.OPERATIONS, choices=dispatch.OPERATIONS
    )
    args = parser.parse_args()
    heads = [f'sm_{arch} registers / stack / shared' for arch in args.arch]
    print('|', ' | '.join(['operation', 'kernel', 'dtype', 'C', 'warps', *heads]), '|')
    print('|---|---|---|---|---|' + '---|' * len(args.arch))
    spilled = 0
    for *names, used in rows(args.arch, args.dtype, args.only):
        spilled += sum(stack > 0 for _, stack, _ in used)
        print(
            '|',
            ' | '.join([*map(str, names), *(f'{r} / {s} / {m}' for r, s, m in used)]),
            '|',
            flush=True,
        )
    print(f'\n{spilled} spilled; triton {triton.__version__}')
    return int(spilled > 0)


if __name__ == '__main__':
    sys.exit(main())
