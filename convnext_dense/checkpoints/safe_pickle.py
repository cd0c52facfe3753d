"""What a pickled checkpoint may hold besides tensors: values, listed by name. None of it runs code.

torch's ``weights_only`` loader creates tensors, plain containers, and what is allowed by name.
numpy's own functions are not allowed: a ``numpy.dtype`` from a file can declare raw bytes to be
Python objects, and reading such an array follows the file's pointers. The stand-ins here only know
numbers and text.
"""

from __future__ import annotations

import argparse
import pathlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_LOCK = threading.Lock()  # torch has one list for all threads


class Skipped:
    """Stands for an object that only training needs and that is not created: mmengine's history."""

    def __init__(self, *args: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __reduce__(self) -> str:
        raise TypeError(
            'the log history of a checkpoint that was read for its weights cannot be written again'
        )


class _NumberType:
    """Stands for ``numpy.dtype`` of numbers, booleans or text."""

    def __init__(self, kind: Any, align: Any = False, copy: Any = False):
        self.dtype = np.dtype(str(kind))
        if self.dtype.kind not in 'biufcSU':
            raise ValueError(f'a numpy array of {kind!r}, which is neither numbers nor text')

    def __setstate__(self, state: tuple) -> None:
        # (version, byte order, subarray, names, fields, ...), of which only the order is used.
        if any(part is not None for part in state[2:5]):
            raise ValueError('a numpy array of records, which is neither numbers nor text')
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for a ``numpy.ndarray``; :func:`replace_stand_ins` replaces it by its ``value``."""

    def __init__(self, *args: Any):
        # numpy passes a class, a shape of (0,) and a type, which the state replaces.
        self.value = np.zeros(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, is_fortran, raw = state
        flat = np.frombuffer(raw, kind.dtype)
        self.value = flat.reshape(shape, order='F' if is_fortran else 'C').copy()


def _number(kind: _NumberType, raw: bytes) -> np.generic:
    return np.frombuffer(raw, kind.dtype, count=1)[0]


# Name in the file -> what is created. Some have two: for numpy 1 and 2, and Python 3.13's pathlib.
_STAND_INS: dict[str, Callable] = {
    'argparse.Namespace': argparse.Namespace,  # the authors' training files keep their command line
    'numpy.ndarray': _Array,
    'numpy.dtype': _NumberType,
    'numpy.core.multiarray._reconstruct': _Array,
    'numpy._core.multiarray._reconstruct': _Array,
    'numpy.core.multiarray.scalar': _number,
    'numpy._core.multiarray.scalar': _number,
    'pathlib.PosixPath': pathlib.PurePosixPath,
    'pathlib.WindowsPath': pathlib.PureWindowsPath,
    'pathlib._local.PosixPath': pathlib.PurePosixPath,
    'pathlib._local.WindowsPath': pathlib.PureWindowsPath,
    'mmengine.logging.history_buffer.HistoryBuffer': Skipped,
    'builtins.getattr': Skipped,  # how HistoryBuffer names its methods
}


@contextmanager
def safe_globals(more: Mapping[str, Callable] | None = None) -> Iterator[None]:
    """Let torch's safe loader create the stand-ins, and ``more`` by name; one thread at a time."""
    with _LOCK:
        before = torch.serialization.get_safe_globals()
        try:
            # A name that is allowed elsewhere must not take precedence over ours.
            torch.serialization.clear_safe_globals()
            allowed = _STAND_INS | dict(more or {})
            torch.serialization.add_safe_globals([(make, name) for name, make in allowed.items()])
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(before)


def replace_stand_ins(node: Any, done: dict[int, Any] | None = None) -> Any:
    """Replace the stand-ins of arrays by arrays, in containers and in attributes of objects.

    Args:
        node: the content of a file; lists, dicts and objects are changed in place.
        done: id -> result, because an object may stand in many places and inside itself.
    """
    if done is None:
        done = {}
    if id(node) not in done:
        done[id(node)] = node
        done[id(node)] = _replace_in(node, done)
    return done[id(node)]


def _replace_in(node: Any, done: dict[int, Any]) -> Any:
    if isinstance(node, _Array):
        return node.value
    if isinstance(node, tuple) and not isinstance(node, torch.Size):
        return tuple(replace_stand_ins(child, done) for child in node)
    if isinstance(node, list):
        node[:] = [replace_stand_ins(child, done) for child in node]
    elif isinstance(node, dict):
        for key, value in node.items():
            node[key] = replace_stand_ins(value, done)
    elif _has_own_attributes(node):
        replace_stand_ins(vars(node), done)
    return node


def _has_own_attributes(node: Any) -> bool:
    if isinstance(node, (torch.Tensor, type)) or callable(node):
        return False
    return hasattr(node, '__dict__')
