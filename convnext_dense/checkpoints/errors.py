"""What is raised for files: one kind to catch for a message without a traceback."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be fetched, read or loaded; the message says why and what to do."""


class CheckpointNotFoundError(CheckpointError, FileNotFoundError):
    """No such file, folder or part of a split checkpoint."""

    __str__ = ValueError.__str__
