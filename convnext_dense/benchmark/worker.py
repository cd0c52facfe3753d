"""A fresh process that holds one object and calls its methods when asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any
from unittest.mock import patch

_held: object = None  # in the fresh process: what the factory returned


class WorkerError(RuntimeError):
    """The process could not do what it was asked to; the message says why."""


class Worker:
    """Builds ``factory(*args)`` in a fresh process, where :meth:`ask` calls its methods.

    Factory, arguments and answers must be picklable. What the process prints is dropped.

    Args:
        factory: a class or a function, importable by its name.
        *args: its arguments.
        environment: variables that the process has besides those of its parent.
    """

    def __init__(
        self, factory: Callable, *args: object, environment: Mapping[str, str] | None = None
    ):
        self._pool = ProcessPoolExecutor(max_workers=1, mp_context=get_context('spawn'))
        with patch.dict(os.environ, environment or {}):
            self._built = self._pool.submit(_build, factory, args)  # starts the process

    def ask(self, method: str, *args: object) -> Any:
        """The answer of the held object's ``method(*args)``.

        Raises:
            WorkerError: the factory or the method raised an error, or the process died.
        """
        try:
            self._built.result()
            return self._pool.submit(_call, method, args).result()
        except BrokenProcessPool:
            raise WorkerError('its process died, most likely out of memory') from None

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown(cancel_futures=True)


def describe_error(error: Exception) -> str:
    """Type and first line of an error, for tables and logs."""
    lines = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {lines[0]}'[:300]


def _build(factory: Callable, args: tuple) -> None:
    global _held
    # Libraries warn and log; errors reach the parent without these streams.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    _held = _guard(factory, *args)


def _call(method: str, args: tuple) -> Any:
    return _guard(getattr(_held, method), *args)


def _guard(function: Callable, *args: object) -> Any:
    """Any error as a WorkerError, since some libraries' errors cannot be pickled."""
    try:
        return function(*args)
    except Exception as error:
        raise WorkerError(describe_error(error)) from None
