"""Errors that the user can correct.

The message says what is wrong and what to do; the command prints it without a traceback.
"""

from __future__ import annotations


class UserError(ValueError):
    """Base class: catch it to report any of these errors as a message."""


class ConfigError(UserError):
    """A config or an argument that cannot be used as it is."""


class DataError(UserError):
    """A data set that is missing, incomplete or not what it should be."""


class CheckpointError(UserError):
    """A checkpoint that cannot be fetched, read, loaded or written."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """No such file, folder, or part of a split checkpoint."""

    # FileNotFoundError would format the message as an operating system error.
    __str__ = ValueError.__str__


def first_line(error: BaseException | None) -> str:
    """The first line of an error's message without a full stop, or its type if it has none."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    return lines[0].rstrip('.')
