"""Runs kernels in Triton's interpreter, in a process of its own: TRITON_INTERPRET holds from Triton's import on.

Reads pickled requests from standard input, answers each on standard output; ``conftest.Interpreter`` is the other end.
"""

import contextlib
import pickle
import sys
import traceback
from importlib import import_module
from unittest import mock

import numpy as np
import torch
import triton.language as tl
from torch import library
from triton.runtime import interpreter

from convnext_dense.ops import dispatch, functional, registered

torch.set_num_threads(1)


def _widen(handle):
    """The interpreter holds bf16 as uint16 and would multiply those as integers."""
    if handle.dtype.scalar != tl.bfloat16:
        return handle
    return interpreter.TensorHandle(
        (handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32
    )


def _round_to_bf16(data: np.ndarray) -> np.ndarray:
    """fp32 to the nearest bf16, halves to even, as a GPU does; the interpreter cuts."""
    bits = np.ascontiguousarray(data, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return (
        np.where(np.isfinite(data), rounded, bits >> 16).astype(np.uint16).reshape(np.shape(data))
    )


def mend_interpreter():
    """bf16 as on a GPU, and functions inside of kernels twice as fast: they are prepared once for each launch."""
    builder, function, prepared = (
        interpreter.InterpreterBuilder,
        interpreter.InterpretedFunction,
        set(),
    )
    dot, cast, run = builder.create_dot, builder.cast_impl, function.run

    def cast_rounding(self, source, to):
        if source.dtype.scalar == tl.float32 and to.scalar == tl.bfloat16:
            return interpreter.TensorHandle(_round_to_bf16(source.data), tl.bfloat16)
        return cast(self, source, to)

    def run_prepared(self, *args, **kwargs):
        prepared.clear()
        return run(self, *args, **kwargs)

    def call_prepared(self, *args, **kwargs):
        if self.fn.__module__ not in prepared:
            interpreter._patch_lang(self.fn)
            prepared.add(self.fn.__module__)
        return self.rewrite()(*args, **kwargs)

    builder.create_dot = lambda self, a, b, *rest: dot(self, _widen(a), _widen(b), *rest)
    for name in ('cast_impl', 'create_fp_trunc'):
        setattr(builder, name, cast_rounding)
    function.run, function.__call__ = run_prepared, call_prepared


def run(operation, args, kwargs, constants):
    """Outputs of an operation's kernels; ``constants``: {(file, name): value} of ``ops.triton`` while they run."""
    with contextlib.ExitStack() as stack, torch.no_grad():
        for (file, name), value in constants.items():
            stack.enter_context(
                mock.patch.object(import_module(f'convnext_dense.kernels.{file}'), name, value)
            )
        return getattr(functional, operation)(*args, implementation='triton', **kwargs)


def grads(operation, args, out_grad):
    """Gradients of the first output by each of ``args`` that requires one; all backward kernels run."""
    args = [
        one.detach().requires_grad_(one.requires_grad) if isinstance(one, torch.Tensor) else one
        for one in args
    ]
    out = getattr(functional, operation)(*args, implementation='triton')
    (out if isinstance(out, torch.Tensor) else out[0]).backward(out_grad)
    return [one.grad if isinstance(one, torch.Tensor) else None for one in args]


def traced(x, weight, bias, gamma):
    """Outputs of two forced operations in a row, eager, compiled and exported, and the exported graph's operations."""

    class Two(torch.nn.Module):
        def forward(self, x):
            with dispatch.force('triton', 'layer_norm'):
                y = functional.layer_norm(x, weight, bias)[0]
            return functional.global_response_norm(y, gamma, bias, implementation='triton')

    with torch.no_grad():
        exported = torch.export.export(Two(), (x,))
        names = [str(node.target) for node in exported.graph.nodes if node.op == 'call_function']
        compiled = torch.compile(Two(), backend='aot_eager', fullgraph=True)
        return Two()(x), compiled(x), exported.module()(x), names


def opcheck(operation, args):
    """Schema, gradients' registration, shapes and ahead-of-time dispatch of the operation with its kernels."""
    return library.opcheck(registered.OPS[operation], args)


if __name__ == '__main__':
    mend_interpreter()
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    while True:
        try:
            name, args = pickle.load(sys.stdin.buffer)
        except EOFError:
            break
        try:
            answer = True, globals()[name](*args)
        except Exception:
            answer = False, traceback.format_exc()
        pickle.dump(answer, answers)
        answers.flush()
