import contextlib
import io
import itertools
import logging
import os
import pty
import re
import subprocess
import sys
import types

import pytest
from mmengine.hooks import Hook
from rich.console import Console

from convnext_dense.engine import ProgressHook

ITERATIONS = dict(type='IterBasedTrainLoop', max_iters=8, val_interval=4)
EPOCHS = dict(by_epoch=True, max_epochs=2, val_interval=1)
CURSOR = re.compile(r'\x1b\[\??\d*[A-HJKhl]')  # anything that moves, erases or hides
HIDE, SHOW = '\x1b[?25l', '\x1b[?25h'


class Terminal(io.StringIO):
    """A text stream that calls itself a terminal, and what a person sees in the end."""

    def isatty(self):
        return True

    def read_screen(self):
        """Lines after carriage returns, cursor moves and erasures; colours are dropped."""
        lines, row, column = [''], 0, 0
        for token in re.finditer(
            r'\x1b\[(\??[\d;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+', self.getvalue()
        ):
            text, (number, command) = token.group(), token.groups()
            if text == '\r':
                column = 0
            elif text == '\n':
                row, column = row + 1, 0
                lines += [''] * (row + 1 - len(lines))
            elif command == 'A':
                row -= int(number or 1)
            elif command == 'K':
                assert number == '2'
                lines[row] = ''
            elif command is None:
                lines[row] = (
                    lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
                )
                column += len(text)
            else:
                assert command in 'mhl'
        return lines

    def read_frames(self):
        """Each line of text that was written, in order."""
        return re.split(r'[\r\n]+', re.sub(r'\x1b\[[\d;?]*[A-Za-z]', '', self.getvalue()))


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    """A 100 columns wide terminal on stdout, and no waiting where mmengine starts a data loader again."""
    for name in ('NO_COLOR', 'FORCE_COLOR', 'TTY_COMPATIBLE', 'TTY_INTERACTIVE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '100')
    monkeypatch.setenv('LINES', '50')
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda seconds: None)
    return Terminal()


class At(Hook):
    """Calls a function after the training iteration of that number, counted from 1."""

    def __init__(self, iteration, function):
        self.iteration, self.function = iteration, function

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            self.function(runner)


@pytest.fixture
def run(make_runner, terminal):
    """Runs with :class:`ProgressHook` on ``stdout``, and checks that all is put back, however it ends."""

    def run(train_cfg, *hooks, start='train', stdout=terminal, **kwargs):
        progress = kwargs.pop(
            'progress', dict(type='convnext_dense.ProgressHook', refresh_interval=0.0)
        )
        with contextlib.redirect_stdout(stdout):
            runner = make_runner(train_cfg, custom_hooks=[progress, *hooks], **kwargs)
            try:
                getattr(runner, start)()
            finally:
                check_put_back(runner, stdout)
        return runner

    return run


def check_put_back(runner, stdout):
    assert sys.stdout is stdout
    console_handler = runner.logger.handlers[0]
    assert type(console_handler) is logging.StreamHandler and console_handler.stream is stdout
    assert isinstance(runner.train_loop.run, types.MethodType)


def read_counts(terminal, name):
    """[(done, total), ...] of the bar of that name, in the order drawn, each value once."""
    found = (re.match(rf'{name} +[━╸╺ ]+(\d+)/(\d+)', frame) for frame in terminal.read_frames())
    return list(dict.fromkeys((int(match[1]), int(match[2])) for match in found if match))


def test_iteration_loop(run, terminal):
    runner = run(ITERATIONS)
    assert read_counts(terminal, 'train') == [(n, 8) for n in range(9)]
    assert read_counts(terminal, 'val') == [(n, 3) for n in range(4)]
    assert any(
        re.match(r'train .* 5/8 +[\d.]+ it/s  eta 0:00:\d\d  loss \d+\.\d{4}$', frame.rstrip())
        for frame in terminal.read_frames()
    )
    assert terminal.getvalue().count(HIDE) == terminal.getvalue().count(SHOW) == 1


def test_epoch_loop(run, terminal):
    run(EPOCHS)
    assert read_counts(terminal, 'epoch 1/2') == [(n, 8) for n in range(5)]
    assert read_counts(terminal, 'epoch 2/2') == [(n, 8) for n in range(4, 9)]


def test_log_lines_do_not_tear_the_bar(run, terminal):
    """In the end the screen shows every log line, whole, in order, then the bar, once."""
    hooks = [
        At(2, lambda runner: print('printed by a hook')),
        At(3, lambda runner: runner.logger.info('[x] :smile: ' * 20)),
    ]
    runner = run(ITERATIONS, *hooks)
    screen = terminal.read_screen()
    with open(runner.logger.log_file) as file:
        logged = [line.rstrip().split(' - ', 1)[-1] for line in file if 'WARNING' not in line]
    shown = [line.rstrip().split(' - ', 1)[-1] for line in screen if 'WARNING' not in line]
    logged, shown = (
        list(itertools.dropwhile(lambda line: 'Iter(train)' not in line, lines))
        for lines in (logged, shown)
    )
    shown.remove('printed by a hook')
    assert shown[: len(logged)] == logged and sum('[x] :smile:' in line for line in shown) == 1
    (bar,) = [line for line in screen if '━' in line]
    assert re.match(r'train ━+ 8/8 [\d.]+ it/s  eta 0:00:00  loss \d', bar) and len(bar) <= 100
    assert bar in screen[-2:] and not any('val ' == line[:4] for line in screen)


def test_colours_of_the_log_stay(run, terminal):
    run(ITERATIONS, At(2, lambda runner: runner.logger.info('\x1b[31mred\x1b[0m')))
    assert '\x1b[31mred' in terminal.getvalue()


@pytest.mark.parametrize('force_color', [False, True])
def test_a_pipe_gets_plain_lines(run, monkeypatch, force_color):
    """Byte for byte as without the hook, but for times and losses; some build servers set FORCE_COLOR."""
    if force_color:
        monkeypatch.setenv('FORCE_COLOR', '1')
    pipes = []
    for kwargs in (dict(), dict(progress=At(0, print))):
        pipes.append(io.StringIO())
        run(ITERATIONS, stdout=pipes[-1], **kwargs)
    texts = [
        [re.sub(r'\d', '', line) for line in pipe.getvalue().splitlines() if 'Iter(' in line]
        for pipe in pipes
    ]
    assert texts[0] == texts[1] and len(texts[0]) == 16
    assert not CURSOR.search(pipes[0].getvalue()) and '━' not in pipes[0].getvalue()


def test_log_file_gets_no_control_characters(run, terminal):
    runner = run(ITERATIONS)
    with open(runner.logger.log_file) as file:
        text = file.read()
    assert (
        text.count('Iter(train)') == 8
        and '\x1b' not in text
        and '━' not in text
        and '\r' not in text
    )


@pytest.mark.parametrize('error', [KeyboardInterrupt, RuntimeError])
def test_all_is_put_back_after_an_error(run, terminal, error):
    def fail(runner):
        assert sys.stdout is not terminal and runner.logger.handlers[0].stream is not terminal
        raise error('stop')

    with pytest.raises(error, match='stop'):
        run(ITERATIONS, At(6, fail))
    terminal.write('after the error\n')
    assert terminal.getvalue().count(HIDE) == terminal.getvalue().count(SHOW) == 1
    screen = terminal.read_screen()
    assert re.match('train .* 5/8 ', screen[-3]) and screen[-2] == 'after the error'


def test_resumed_run_starts_where_it_stopped(run, terminal, tmp_path):
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=5, by_epoch=False))
    run(dict(ITERATIONS, max_iters=5), default_hooks=hooks)
    terminal.truncate(0)
    run(ITERATIONS, resume=True, load_from=str(tmp_path / 'iter_5.pth'))
    assert read_counts(terminal, 'train') == [(n, 8) for n in range(5, 9)]


def test_validation_and_test_alone(run, terminal):
    runner = run(ITERATIONS, start='val')
    assert read_counts(terminal, 'val') == [(n, 3) for n in range(4)]
    terminal.truncate(0)
    val = dict(
        test_dataloader=runner.val_dataloader, test_cfg=dict(), test_evaluator=runner.val_evaluator
    )
    run(ITERATIONS, start='test', **val)
    assert read_counts(terminal, 'test') == [(n, 3) for n in range(4)] and not read_counts(
        terminal, 'train'
    )
    assert terminal.getvalue().count(HIDE) == terminal.getvalue().count(SHOW) == 1


def test_runs_again_with_the_same_runner(run, terminal):
    runner = run(ITERATIONS)
    terminal.truncate(0)
    with contextlib.redirect_stdout(terminal):
        runner.val()
        check_put_back(runner, terminal)
    assert read_counts(terminal, 'val') == [(n, 3) for n in range(4)]


def test_other_ranks_show_nothing(run, terminal, monkeypatch):
    monkeypatch.setattr('convnext_dense.engine.progress.is_main_process', lambda: False)
    run(ITERATIONS)
    assert not CURSOR.search(terminal.getvalue())


def test_dumb_terminal_shows_nothing(run, terminal, monkeypatch):
    monkeypatch.setenv('TERM', 'dumb')
    run(ITERATIONS)
    assert not CURSOR.search(terminal.getvalue())


def test_redirected_stderr_stays_redirected(run, terminal):
    """A warning goes above the bar on a terminal, and into the file where stderr is one."""
    for stderr in (io.StringIO(), Terminal()):
        with contextlib.redirect_stderr(stderr):
            run(ITERATIONS, At(3, lambda runner: print('careful', file=sys.stderr)))
            assert sys.stderr is stderr
        assert (
            ('careful' in stderr.getvalue())
            != stderr.isatty()
            == ('careful' in terminal.read_screen())
        )


def test_drawn_no_oftener_than_asked(run, terminal):
    run(
        ITERATIONS,
        progress=dict(type='convnext_dense.ProgressHook', refresh_interval=1000.0),
        default_hooks=dict(logger=None),
    )
    assert read_counts(terminal, 'train') == [(0, 8), (4, 8), (8, 8)]  # begin, validations, end
    (bar,) = [line for line in terminal.read_screen() if '━' in line]
    assert re.search(r'8/8 .* it/s  eta 0:00:00  loss \d', bar)


@pytest.mark.parametrize('is_terminal', [True, False])
def test_own_console(run, terminal, is_terminal):
    own = Terminal()
    console = Console(file=own, force_terminal=is_terminal, width=100)
    run(ITERATIONS, progress=ProgressHook(console, refresh_interval=0.0))
    assert bool(read_counts(own, 'train')) == is_terminal and not CURSOR.search(terminal.getvalue())
    assert ('Iter(train)' in own.getvalue(), 'Iter(train)' in terminal.getvalue()) == (
        is_terminal,
        not is_terminal,
    )


def test_on_a_pseudo_terminal(tmp_path):
    """The same with a real terminal of the kernel's and nothing replaced: the bar moves, the cursor comes back."""
    script = tmp_path / 'script.py'
    script.write_text(SCRIPT.replace('WORK_DIR', repr(str(tmp_path))))
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, '-W', 'ignore', str(script)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    with open(ours, 'rb', buffering=0) as stream:
        written = b''.join(iter(lambda: _read(stream), b''))
    screen = Terminal()
    screen.write(written.decode())
    assert process.wait(timeout=60) == 0, screen.getvalue()
    assert screen.getvalue().count(HIDE) == screen.getvalue().count(SHOW) == 1
    (bar,) = [line for line in screen.read_screen() if '━' in line]
    assert re.match(r'epoch 1/1 ━+ 4/4 ', bar)


def _read(stream):
    try:
        return stream.read(4096)
    except OSError:  # how Linux tells that the other end of a terminal is closed
        return b''


SCRIPT = """
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner

class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode):
        return dict(loss=self.linear(inputs).square().mean())

Runner._log_env = lambda self, env_cfg: None
Runner(Toy(), WORK_DIR, torch.utils.data.DataLoader([dict(inputs=torch.ones(2))] * 4),
       train_cfg=dict(by_epoch=True, max_epochs=1), optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
       custom_hooks=[dict(type='convnext_dense.ProgressHook', refresh_interval=0.)]).train()
"""
