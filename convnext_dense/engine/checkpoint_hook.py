"""Checkpoints during training that a crash cannot take away."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

from mmengine import hooks
from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend

from convnext_dense.checkpoints.write import written_atomically
from convnext_dense.registry import HOOKS

BACKEND = 'convnext_dense.atomic'


@register_backend(BACKEND)
class AtomicBackend(LocalBackend):
    """Local files, written to a temporary file that then takes the name."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        with written_atomically(filepath) as temporary:
            temporary.write_bytes(obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        self.put(obj.encode(encoding), filepath)


@HOOKS.register_module()
class CheckpointHook(hooks.CheckpointHook):
    """mmengine's hook, with files that are complete or not there, and old ones removed only after the new one is.

    mmengine writes straight onto the target, and with ``max_keep_ckpts`` or ``save_best`` removes the old checkpoint
    first: a crash, a full disk or a kill while it saves can leave none. Here the last good one stays until the next is
    on the disk, so there is room needed for one more than ``max_keep_ckpts``.

    Args: mmengine's. A ``backend_args`` or an ``out_dir`` that is no local folder is left to mmengine.

    Differs: mmengine/hooks/checkpoint_hook.py @ v0.10.7.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._held = None
        if (
            self.backend_args is None
            and self.file_client_args is None
            and '://' not in str(self.out_dir or '')
        ):
            self.backend_args = dict(backend=BACKEND)

    def _save_checkpoint_with_step(self, runner, step, meta) -> None:
        with self._removing_afterwards():
            super()._save_checkpoint_with_step(runner, step, meta)
            if (
                is_main_process()
            ):  # written by mmengine already; now so that it survives a power cut
                AtomicBackend().put_text(self.last_ckpt, Path(runner.work_dir, 'last_checkpoint'))

    def _save_best_checkpoint(self, runner, metrics) -> None:
        with self._removing_afterwards():
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _removing_afterwards(self):
        """Within: ``file_backend`` only notes what to remove; that is done on leaving, unless by an exception."""
        if self._held is not None:  # saving the best one saves the last one too
            yield
            return
        backend, self._held = self.file_backend, []
        self.file_backend = _NotingBackend(backend, self._held)
        try:
            yield
            held = self._held
        finally:
            self.file_backend, self._held = backend, None
        written = {
            self.last_ckpt,
            getattr(self, 'best_ckpt_path', None),
            *getattr(self, 'best_ckpt_path_dict', {}).values(),
        }
        for remove, path in held:
            if path not in written:
                remove(path)


class _NotingBackend:
    """A backend that keeps what it is asked to remove, and notes it."""

    def __init__(self, backend, held: list):
        self._backend, self._held = backend, held

    def remove(self, path) -> None:
        self._held.append((self._backend.remove, path))

    def rmtree(self, path) -> None:
        self._held.append((self._backend.rmtree, path))

    def __getattr__(self, name: str):
        return getattr(self._backend, name)
