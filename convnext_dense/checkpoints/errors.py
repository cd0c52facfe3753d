"""What is raised for files: one kind to catch for a message without a traceback."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A checkpoint that cannot be fetched, read or loaded; the message says why and what to do."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """No such file, folder or part of a split checkpoint."""

    __str__ = ValueError.__str__


def first_line(error: BaseException | None) -> str:
    """What an error says first, or its kind where it says nothing; without a full stop."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip('.')
