"""What is raised for files: one kind to catch for a message without a traceback."""

from __future__ import annotations

from convnext_dense.errors import CheckpointError, CheckpointNotFoundError

__all__ = ['CheckpointError', 'CheckpointNotFoundError', 'first_line']


def first_line(error: BaseException | None) -> str:
    """What an error says first, or its kind where it says nothing; without a full stop."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip('.')
