"""Checkpoints during training that survive a crash."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine import hooks
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend

from convnext_dense.checkpoints.write import written_atomically
from convnext_dense.registry import HOOKS

BACKEND = 'convnext_dense.atomic'


@register_backend(BACKEND)
class AtomicBackend(LocalBackend):
    """mmengine's local files, each written to a temporary file that then takes the name."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        with written_atomically(filepath) as temporary:
            temporary.write_bytes(obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        self.put(obj.encode(encoding), filepath)


@HOOKS.register_module()
class CheckpointHook(hooks.CheckpointHook):
    """mmengine's hook with atomic writes, which removes old checkpoints only after the new one.

    mmengine writes straight to the target, and with ``max_keep_ckpts`` or ``save_best`` removes the
    old checkpoint first: a crash, a full disk or a kill while it saves can leave none. Here the
    last good one stays until the next one is on the disk, which needs room for one more than
    ``max_keep_ckpts``.

    Arguments are mmengine's. A ``backend_args``, or an ``out_dir`` that is no local folder, is left
    to mmengine.

    Differs: mmengine/hooks/checkpoint_hook.py @ v0.10.7.
    """

    backend_args: dict | None
    file_backend: Any

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._removals: list[tuple[Callable, str]] | None = None
        is_local = '://' not in str(self.out_dir or '')
        if is_local and self.backend_args is None and self.file_client_args is None:
            self.backend_args = dict(backend=BACKEND)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict) -> None:
        with self._removing_afterwards():
            super()._save_checkpoint_with_step(runner, step, meta)
            if is_main_process():
                # mmengine has written this file already; now it also survives a power cut.
                AtomicBackend().put_text(self.last_ckpt, Path(runner.work_dir, 'last_checkpoint'))

    def _save_best_checkpoint(self, runner: Any, metrics: dict) -> None:
        with self._removing_afterwards():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_afterwards(self) -> Iterator[None]:
        """Inside, removals are only noted; on leaving without an exception they are done."""
        if self._removals is not None:  # saving the best checkpoint saves the last one too
            yield
            return
        backend = self.file_backend
        removals: list[tuple[Callable, str]] = []
        self._removals = removals
        self.file_backend = _NotingBackend(backend, removals)
        try:
            yield
        finally:
            self.file_backend = backend
            self._removals = None
        written = {self.last_ckpt, getattr(self, 'best_ckpt_path', None)}
        written.update(getattr(self, 'best_ckpt_path_dict', {}).values())
        for remove, path in removals:
            if path not in written:
                remove(path)


class _NotingBackend:
    """A backend that notes what it is asked to remove, and removes nothing."""

    def __init__(self, backend: Any, removals: list[tuple[Callable, str]]):
        self._backend = backend
        self._removals = removals

    def remove(self, path: str) -> None:
        self._removals.append((self._backend.remove, path))

    def rmtree(self, path: str) -> None:
        self._removals.append((self._backend.rmtree, path))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)
