"""What a pickled checkpoint may hold besides tensors: values, by a list of names. Nothing on it runs code.

torch's ``weights_only`` loader makes tensors and plain containers, and what else is allowed by name. numpy's own
functions are not allowed: a type description (``numpy.dtype``) from a file can declare raw bytes to be Python objects,
and whoever reads such an array follows the file's pointers. The stand-ins here know numbers and text alone.
"""

from __future__ import annotations

import argparse
import pathlib
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager

import numpy as np
import torch

_LOCK = threading.Lock()  # torch has one list for all threads


class Skipped:
    """Stands for an object that only training needs and that is not rebuilt: a log history of mmengine."""

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        pass

    def __reduce__(self):
        raise TypeError(
            'the log history of a checkpoint that was read for its weights cannot be written again'
        )


class _NumberType:
    """``numpy.dtype`` of numbers, booleans or text."""

    def __init__(self, kind, align=False, copy=False):
        self.dtype = np.dtype(str(kind))
        if self.dtype.kind not in 'biufcSU':
            raise ValueError(f'a numpy array of {kind!r}, which is neither numbers nor text')

    def __setstate__(
        self, state
    ):  # (version, byte order, subarray, names, fields, ...): the order alone is taken
        if any(part is not None for part in state[2:5]):
            raise ValueError('a numpy array of records, which is neither numbers nor text')
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """``numpy.ndarray`` in the making; :func:`settle` puts ``value`` in its place."""

    def __init__(
        self, *args
    ):  # numpy's function is given the class, a shape of (0,) and a type: all replaced below
        self.value = np.zeros(0)

    def __setstate__(self, state):  # (version, shape, type, whether in Fortran's order, bytes)
        _, shape, kind, fortran, raw = state
        self.value = (
            np.frombuffer(raw, kind.dtype).reshape(shape, order='F' if fortran else 'C').copy()
        )


def _number(kind: _NumberType, raw: bytes) -> np.generic:
    return np.frombuffer(raw, kind.dtype, count=1)[0]


# By the name in the file, in numpy 1's and 2's spelling and in Python 3.13's: what is made instead.
_STAND_INS: dict[str, Callable] = {
    'argparse.Namespace': argparse.Namespace,  # the authors' training files keep their command line
    'numpy.ndarray': _Array,
    'numpy.dtype': _NumberType,
    **{f'numpy.{core}.multiarray._reconstruct': _Array for core in ('core', '_core')},
    **{f'numpy.{core}.multiarray.scalar': _number for core in ('core', '_core')},
    **{
        f'pathlib{part}.{name}': getattr(pathlib, f'Pure{name}')
        for part in ('', '._local')
        for name in ('PosixPath', 'WindowsPath')
    },
    'mmengine.logging.history_buffer.HistoryBuffer': Skipped,
    'builtins.getattr': Skipped,  # how HistoryBuffer names its methods
}


@contextmanager
def allowed(more: Mapping[str, Callable] | None = None):
    """Within, for one thread at a time: torch's safe loader makes the stand-ins, and ``more`` by name."""
    with _LOCK:
        before = torch.serialization.get_safe_globals()
        try:
            torch.serialization.clear_safe_globals()  # a name that was allowed outside must not come before ours
            torch.serialization.add_safe_globals(
                [(make, name) for name, make in (_STAND_INS | (more or {})).items()]
            )
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(before)


def settle(node, done: dict | None = None):
    """``node`` with numpy arrays where arrays were in the making: in containers and in attributes of objects."""
    done = (
        {} if done is None else done
    )  # by identity: a thing may stand in many places, and inside itself
    if id(node) not in done:
        done[id(node)] = node
        done[id(node)] = _settle(node, done)
    return done[id(node)]


def _settle(node, done: dict):
    if isinstance(node, _Array):
        return node.value
    if isinstance(node, tuple) and not isinstance(node, torch.Size):
        return tuple(settle(child, done) for child in node)
    if isinstance(node, list):
        node[:] = [settle(child, done) for child in node]
    elif isinstance(node, dict):
        for key, value in node.items():
            node[key] = settle(value, done)
    elif (
        hasattr(node, '__dict__')
        and not isinstance(node, (torch.Tensor, type))
        and not callable(node)
    ):
        settle(vars(node), done)
    return node
