"""Progress bars on the terminal: iterations, speed, time left and loss."""

from __future__ import annotations

import logging
import sys
import time
import weakref
from collections.abc import Sequence
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from convnext_dense.registry import HOOKS


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows the progress of training, validation and test below the log lines of a terminal.

    Nothing is shown where stdout is no terminal and on ranks other than 0, so a log file or a pipe
    never gets control characters. While a bar is shown, the console log, ``print`` and warnings are
    written above it. The terminal is restored after the run. mmengine calls no hook when a run ends
    by an exception; the terminal is then restored when the hook is freed, at the latest when Python
    exits.

    Args:
        refresh_interval: minimum number of seconds between two drawings.
    """

    priority = 'VERY_LOW'  # after the hooks that log the loss

    def __init__(self, refresh_interval: float = 0.25):
        self._refresh_interval = refresh_interval
        self._last_refresh = 0.0
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._finalizer: weakref.finalize | None = None

    def before_run(self, runner: Runner) -> None:
        self.after_run(runner)  # an earlier run may have ended by an exception
        console = Console()
        if not is_main_process() or not _is_interactive(console):
            return
        self._progress = _make_progress(console)
        self._progress.start()
        streams = _redirect_log(runner.logger)
        self._finalizer = weakref.finalize(self, _stop, self._progress, streams)

    def after_run(self, runner: Runner) -> None:
        if self._finalizer is not None:
            self._finalizer()
            self._finalizer = None
        self._progress = None
        self._tasks.clear()

    def before_train(self, runner: Runner) -> None:
        self._add('train', runner.max_iters, completed=runner.iter)

    def before_train_epoch(self, runner: Runner) -> None:
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._update('train', description=f'epoch {runner.epoch + 1}/{runner.max_epochs}')

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        self._update('train', completed=runner.iter + 1, loss=_format_loss(runner))

    def before_val(self, runner: Runner) -> None:
        self._add('val', len(runner.val_dataloader))

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence | None = None,
    ) -> None:
        self._update('val', completed=batch_idx + 1)

    def after_val(self, runner: Runner) -> None:
        if self._progress is not None:
            self._progress.remove_task(self._tasks.pop('val'))

    def before_test(self, runner: Runner) -> None:
        self._add('test', len(runner.test_dataloader))

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence | None = None,
    ) -> None:
        self._update('test', completed=batch_idx + 1)

    def _add(self, name: str, total: int, completed: int = 0) -> None:
        if self._progress is not None:
            task = self._progress.add_task(name, total=total, completed=completed, loss='')
            self._tasks[name] = task
            self._progress.refresh()

    def _update(self, name: str, **fields: Any) -> None:
        if self._progress is None:
            return
        self._progress.update(self._tasks[name], **fields)
        now = time.monotonic()
        if now - self._last_refresh >= self._refresh_interval:
            self._last_refresh = now
            self._progress.refresh()


class _SpeedColumn(ProgressColumn):
    """Iterations per second, measured over the last 30 seconds."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        if speed is None:
            return Text('')
        return Text(f'{speed:.3g} it/s')


def _make_progress(console: Console) -> Progress:
    return Progress(
        TextColumn('{task.description}'),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _SpeedColumn(),
        TextColumn('eta'),
        TimeRemainingColumn(),
        TextColumn('{task.fields[loss]}'),
        console=console,
        expand=True,
        # No thread that draws: data workers are forked, and a fork must not copy a held lock.
        auto_refresh=False,
        # A stderr that goes to a file stays there.
        redirect_stderr=sys.stderr.isatty(),
    )


def _is_interactive(console: Console) -> bool:
    # With FORCE_COLOR set, as on some build servers, rich takes a pipe for a terminal.
    return sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal


def _redirect_log(logger: logging.Logger) -> list[tuple[logging.StreamHandler, object]]:
    """Make the console log write to rich's ``sys.stdout``; return the handlers and old streams."""
    redirected = []
    for handler in logger.handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream.isatty():
            redirected.append((handler, handler.setStream(sys.stdout)))
    return redirected


def _stop(progress: Progress, streams: list[tuple[logging.StreamHandler, object]]) -> None:
    """Draw the bars a last time, then restore the cursor, stdout, stderr and the log."""
    progress.stop()
    for handler, stream in streams:
        handler.setStream(stream)


def _format_loss(runner: Runner) -> str:
    if 'train/loss' not in runner.message_hub.log_scalars:
        return ''
    return f'loss {runner.message_hub.get_scalar("train/loss").current():.4f}'
