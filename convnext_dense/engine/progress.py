"""A progress display on the terminal: iterations, speed, time left and loss, and a second bar for validation."""

from __future__ import annotations

import contextlib
import datetime
import logging
import sys
import time
from collections.abc import Iterator

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, EpochBasedTrainLoop
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from convnext_dense.registry import HOOKS

_SPEED_WINDOW = 20  # iterations


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows how far training, validation and test are, below the log lines, on an interactive terminal.

    One line each: iterations done / total, iterations per second (mean of the last 20), time left, loss. The numbers
    are those of mmengine's own timer. Where stdout is no terminal, and on all ranks but 0, nothing is shown and nothing
    changes, so a log file or a pipe never gets control characters. While the display is alive, what mmengine's console
    log, ``print`` and warnings write goes above it; all is put back when the run ends, also by an exception or Ctrl-C.

    Args:
        console: where to draw; None draws on stdout. A console that is no terminal draws nothing.
        refresh_interval: seconds, at least, between two drawings.
    """

    priority = 'VERY_LOW'  # after the hooks that write the numbers shown here

    def __init__(self, console: Console | None = None, refresh_interval: float = 0.25):
        self._console, self._refresh_interval = console, refresh_interval
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._guarded: list[BaseLoop] = []
        self._last_refresh = 0.0

    def before_run(self, runner) -> None:
        console = self._console or Console()
        if not is_main_process() or not _is_interactive(console, is_stdout=self._console is None):
            return
        # No hook is called when a loop ends by an exception, so the loops themselves are guarded.
        for loop in (runner._train_loop, runner._val_loop, runner._test_loop):
            if isinstance(loop, BaseLoop):
                self._guard(loop, console)

    def before_train(self, runner) -> None:
        self._add('train', runner.max_iters, completed=runner.iter)

    def before_train_epoch(self, runner) -> None:
        if isinstance(runner._train_loop, EpochBasedTrainLoop):
            self._update('train', description=f'epoch {runner.epoch + 1}/{runner.max_epochs}')

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._update('train', completed=runner.iter + 1, hub=runner.message_hub)

    def after_train(self, runner) -> None:
        self._update('train', completed=runner.iter, hub=runner.message_hub, is_last=True)

    def before_val(self, runner) -> None:
        self._add('val', len(runner.val_dataloader))

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._update('val', completed=batch_idx + 1, hub=runner.message_hub)

    def after_val(self, runner) -> None:
        self._remove('val')

    def before_test(self, runner) -> None:
        self._add('test', len(runner.test_dataloader))

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._update('test', completed=batch_idx + 1, hub=runner.message_hub)

    def after_test(self, runner) -> None:
        self._update('test', hub=runner.message_hub, is_last=True)

    def _guard(self, loop: BaseLoop, console: Console) -> None:
        """Make ``loop.run()`` show the display for as long as it lasts, until the run ends."""
        run = loop.run

        def guarded_run(*args, **kwargs):
            with self._alive(console):
                return run(*args, **kwargs)

        loop.run = guarded_run
        self._guarded.append(loop)

    @contextlib.contextmanager
    def _alive(self, console: Console) -> Iterator[None]:
        if self._progress is not None:  # validation inside training
            yield
            return
        # No refresh thread: data workers are forked, and a fork must not meet a held console lock. A redirected
        # stderr stays redirected.
        progress = Progress(
            TextColumn('{task.description}'),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn('{task.fields[note]}'),
            console=console,
            expand=True,
            auto_refresh=False,
            redirect_stderr=sys.stderr.isatty(),
        )
        with _log_through(console), progress:
            self._progress = progress
            try:
                yield
            finally:
                self._progress = None
                self._tasks.clear()
                while self._guarded:
                    vars(self._guarded.pop()).pop('run', None)

    def _add(self, name: str, total: int, completed: int = 0) -> None:
        if self._progress is not None:
            self._remove(name)
            self._tasks[name] = self._progress.add_task(
                name, total=total, completed=completed, note=''
            )
            self._refresh()

    def _update(self, name: str, hub=None, is_last: bool = False, **fields) -> None:
        if self._progress is None or name not in self._tasks:
            return
        due = is_last or time.monotonic() - self._last_refresh >= self._refresh_interval
        if hub is not None and due:
            fields['note'] = _format_note(hub, name)
        self._progress.update(self._tasks[name], **fields)
        if due:
            self._refresh()

    def _remove(self, name: str) -> None:
        if self._progress is not None and name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))
            self._refresh()

    def _refresh(self) -> None:
        if self._progress is not None:
            self._last_refresh = time.monotonic()
            self._progress.refresh()


class _ConsoleStream:
    """A text stream that writes above the display; colours stay, long lines are wrapped by the terminal alone."""

    def __init__(self, console: Console):
        self._console = console

    def write(self, text: str) -> int:
        self._console.print(
            Text.from_ansi(text.removesuffix('\n')), soft_wrap=True, highlight=False
        )
        return len(text)

    def flush(self) -> None:
        self._console.file.flush()


@contextlib.contextmanager
def _log_through(console: Console) -> Iterator[None]:
    """Lead mmengine's console log handlers through ``console``; handlers of files are left alone."""
    handlers = [
        handler
        for logger in MMLogger._instance_dict.values()
        for handler in logger.handlers
        if _writes_to_terminal(handler)
    ]
    streams = [handler.setStream(_ConsoleStream(console)) for handler in handlers]
    try:
        yield
    finally:
        for handler, stream in zip(handlers, streams):
            handler.setStream(stream)


def _writes_to_terminal(handler: logging.Handler) -> bool:
    if not isinstance(handler, logging.StreamHandler) or isinstance(handler, logging.FileHandler):
        return False
    return (
        handler.stream in (sys.stdout, sys.__stdout__) or getattr(handler.stream, 'isatty', bool)()
    )


def _is_interactive(console: Console, is_stdout: bool) -> bool:
    # rich calls a pipe a terminal when FORCE_COLOR is set, as it is on some build servers: ask stdout itself.
    return (
        console.is_terminal
        and not console.is_dumb_terminal
        and (not is_stdout or sys.stdout.isatty())
    )


def _format_note(hub, mode: str) -> str:
    """'12.3 it/s  eta 0:01:02  loss 0.4321' from the scalars that mmengine's timer and model outputs have written."""
    scalars, eta = hub.log_scalars, hub.get_info('eta')
    seconds = scalars[f'{mode}/time'].mean(_SPEED_WINDOW) if f'{mode}/time' in scalars else 0.0
    parts = [f'{1 / seconds:.{2 if seconds > 0.1 else 0}f} it/s'] if seconds > 0 else []
    parts += [f'eta {datetime.timedelta(seconds=int(eta))}'] if eta is not None else []
    parts += (
        [f'loss {scalars["train/loss"].current():.4f}']
        if mode == 'train' and 'train/loss' in scalars
        else []
    )
    return '  '.join(parts)
