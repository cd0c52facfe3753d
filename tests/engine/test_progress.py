"""The bars on a terminal: what is drawn, what is not, and that the terminal is restored."""

import contextlib
import io
import logging
import os
import pty
import re
import subprocess
import sys

import pytest
from mmengine.hooks import Hook

ITERATIONS = dict(type='IterBasedTrainLoop', max_iters=8, val_interval=4)
EPOCHS = dict(by_epoch=True, max_epochs=2, val_interval=1)
HIDE_CURSOR = '\x1b[?25l'
SHOW_CURSOR = '\x1b[?25h'


class Terminal(io.StringIO):
    """A text stream that claims to be a terminal."""

    def isatty(self):
        return True

    def read_screen(self):
        """The lines on the screen after all carriage returns, cursor moves and erasures."""
        lines = ['']
        row = 0
        column = 0
        for token in re.finditer(
            r'\x1b\[\??([\d;]*)([A-Za-z])|\r|\n|[^\x1b\r\n]+', self.getvalue()
        ):
            text = token.group()
            command = token.group(2)
            if text == '\r':
                column = 0
            elif text == '\n':
                row += 1
                column = 0
                if row == len(lines):
                    lines.append('')
            elif command == 'A':  # up
                row -= int(token.group(1) or 1)
            elif command == 'K':  # erase the line
                lines[row] = ''
            elif command is None:
                before = lines[row][:column].ljust(column)
                column += len(text)
                lines[row] = before + text + lines[row][column:]
        return lines

    def read_counts(self, name):
        """[(done, total), ...] of the bar of that name, in the order drawn, each pair once."""
        text = re.sub(r'\x1b\[[\d;?]*[A-Za-z]', '', self.getvalue()).replace('\r', '\n')
        found = re.findall(rf'^{name} +[━╸╺ ]+(\d+)/(\d+)', text, re.MULTILINE)
        return list(dict.fromkeys((int(done), int(total)) for done, total in found))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """A wide terminal, and no waiting where mmengine restarts a data loader."""
    for name in ('NO_COLOR', 'FORCE_COLOR', 'TTY_COMPATIBLE', 'TTY_INTERACTIVE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv('TERM', 'xterm')
    monkeypatch.setenv('COLUMNS', '200')
    monkeypatch.setenv('LINES', '50')
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda seconds: None)


@pytest.fixture
def terminal():
    return Terminal()


class CallAt(Hook):
    """Calls a function after the training iteration with that number, counted from 1."""

    def __init__(self, iteration, function):
        self.iteration = iteration
        self.function = function

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.iteration:
            self.function(runner)


@pytest.fixture
def run(make_runner, terminal):
    """A run with a ProgressHook; checks afterwards that stdout and the log are restored."""

    def run(train_cfg, *hooks, start='train', stdout=terminal, refresh_interval=0.0, **kwargs):
        progress = dict(type='convnext_dense.ProgressHook', refresh_interval=refresh_interval)
        with contextlib.redirect_stdout(stdout):
            runner = make_runner(train_cfg, custom_hooks=[progress, *hooks], **kwargs)
            getattr(runner, start)()
            assert sys.stdout is stdout
        console_handler = runner.logger.handlers[0]
        assert type(console_handler) is logging.StreamHandler
        assert console_handler.stream is stdout
        return runner

    return run


def test_bars_of_training_and_validation(run, terminal):
    run(ITERATIONS)
    assert terminal.read_counts('train') == [(n, 8) for n in range(9)]
    assert terminal.read_counts('val') == [(n, 3) for n in range(4)]
    (bar,) = [line for line in terminal.read_screen() if '━' in line]
    assert re.match(r'train ━+ 8/8 +[\d.e+]+ it/s eta 0:00:00 loss \d+\.\d{4}$', bar.rstrip())
    assert terminal.getvalue().count(HIDE_CURSOR) == terminal.getvalue().count(SHOW_CURSOR) == 1


def test_epoch_loop(run, terminal):
    run(EPOCHS)
    assert terminal.read_counts('epoch 1/2') == [(n, 8) for n in range(5)]
    assert terminal.read_counts('epoch 2/2') == [(n, 8) for n in range(4, 9)]


def test_log_lines_stand_above_the_bar(run, terminal):
    runner = run(
        ITERATIONS,
        CallAt(2, lambda runner: print('printed by a hook')),
        CallAt(3, lambda runner: runner.logger.info('[x] :smile: \x1b[31mred\x1b[0m')),
    )
    screen = [line.rstrip() for line in terminal.read_screen()]
    with open(runner.logger.log_file) as file:
        logged = [line.rstrip().split(' - ', 1)[1] for line in file if 'Iter(' in line]
    assert [line.split(' - ', 1)[1] for line in screen if 'Iter(' in line] == logged
    assert 'printed by a hook' in screen
    assert sum(line.endswith('[x] :smile: red') for line in screen) == 1
    assert '\x1b[31mred' in terminal.getvalue()
    assert screen[-1] == '' and '━' in screen[-2]


def test_log_file_has_no_control_characters(run):
    runner = run(ITERATIONS)
    with open(runner.logger.log_file) as file:
        text = file.read()
    assert text.count('Iter(train)') == 8
    assert not re.search('[\x1b━\r]', text)


@pytest.mark.parametrize('force_color', [False, True])
def test_a_pipe_gets_plain_lines(run, monkeypatch, force_color):
    """Some build servers set FORCE_COLOR."""
    if force_color:
        monkeypatch.setenv('FORCE_COLOR', '1')
    pipe = io.StringIO()
    run(ITERATIONS, stdout=pipe)
    assert pipe.getvalue().count('Iter(train)') == 8
    assert HIDE_CURSOR not in pipe.getvalue() and '━' not in pipe.getvalue()


def test_nothing_is_drawn_on_other_ranks(run, terminal, monkeypatch):
    monkeypatch.setattr('convnext_dense.engine.progress.is_main_process', lambda: False)
    run(ITERATIONS)
    assert HIDE_CURSOR not in terminal.getvalue() and '━' not in terminal.getvalue()


def test_nothing_is_drawn_on_a_dumb_terminal(run, terminal, monkeypatch):
    monkeypatch.setenv('TERM', 'dumb')
    run(ITERATIONS)
    assert HIDE_CURSOR not in terminal.getvalue() and '━' not in terminal.getvalue()


def test_the_same_runner_runs_again_after_an_error(run, make_runner, terminal):
    def fail(runner):
        raise KeyboardInterrupt('stop')

    hooks = [dict(type='convnext_dense.ProgressHook'), CallAt(6, fail)]
    with contextlib.redirect_stdout(terminal):
        runner = make_runner(ITERATIONS, custom_hooks=hooks)
        with pytest.raises(KeyboardInterrupt, match='stop'):
            runner.train()
        runner.val()
        assert sys.stdout is terminal
    assert terminal.getvalue().count(HIDE_CURSOR) == terminal.getvalue().count(SHOW_CURSOR) == 2


def test_resumed_run_starts_where_it_stopped(run, terminal, tmp_path):
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=5, by_epoch=False))
    run(dict(ITERATIONS, max_iters=5), default_hooks=hooks)
    terminal.truncate(0)
    run(ITERATIONS, resume=True, load_from=str(tmp_path / 'iter_5.pth'))
    assert terminal.read_counts('train') == [(n, 8) for n in range(5, 9)]


def test_validation_alone(run, terminal):
    run(ITERATIONS, start='val')
    assert terminal.read_counts('val') == [(n, 3) for n in range(4)]


def test_test_alone(run, make_runner, terminal):
    runner = make_runner(ITERATIONS)
    test = dict(
        test_dataloader=runner.val_dataloader, test_cfg=dict(), test_evaluator=runner.val_evaluator
    )
    run(ITERATIONS, start='test', **test)
    assert terminal.read_counts('test') == [(n, 3) for n in range(4)]
    assert terminal.read_counts('train') == []


@pytest.mark.parametrize('stderr', [io.StringIO(), Terminal()])
def test_stderr_is_moved_above_the_bar_only_on_a_terminal(run, terminal, stderr):
    with contextlib.redirect_stderr(stderr):
        run(ITERATIONS, CallAt(3, lambda runner: print('careful', file=sys.stderr)))
        assert sys.stderr is stderr
    screen = [line.rstrip() for line in terminal.read_screen()]
    assert ('careful' in screen) == stderr.isatty()
    assert ('careful' in stderr.getvalue()) != stderr.isatty()


def test_refresh_interval(run, terminal):
    run(ITERATIONS, refresh_interval=1000.0, default_hooks=dict(logger=None))
    drawn = terminal.read_counts('train')
    assert drawn[0] == (0, 8) and drawn[-1] == (8, 8)
    assert len(drawn) <= 5


SCRIPT = """
import sys
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode):
        return dict(loss=self.linear(inputs).square().mean())

class Fail(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if batch_idx == 2:
            raise KeyboardInterrupt('stop')

Runner._log_env = lambda self, env_cfg: None
data = torch.utils.data.DataLoader([dict(inputs=torch.ones(2))] * 4)
hooks = [dict(type='convnext_dense.ProgressHook', refresh_interval=0.), Fail()]
Runner(Toy(), sys.argv[1], data, train_cfg=dict(by_epoch=True, max_epochs=1),
       optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)), custom_hooks=hooks).train()
"""


def test_cursor_returns_after_an_interrupt_on_a_pseudo_terminal(tmp_path):
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, '-W', 'ignore', '-c', SCRIPT, str(tmp_path)],
        stdin=subprocess.DEVNULL,
        stdout=child,
        stderr=child,
    )
    os.close(child)
    screen = Terminal()
    with open(parent, 'rb', buffering=0) as stream:
        screen.write(b''.join(iter(lambda: _read(stream), b'')).decode())
    assert process.wait(timeout=60) != 0
    assert screen.getvalue().count(HIDE_CURSOR) == screen.getvalue().count(SHOW_CURSOR) == 1
    lines = [line.rstrip() for line in screen.read_screen()]
    assert 'KeyboardInterrupt: stop' in lines
    (bar,) = [line for line in lines if '━' in line]
    assert re.match(r'epoch 1/1 [━╸╺ ]+ [23]/4 ', bar)


def _read(stream):
    try:
        return stream.read(4096)
    except OSError:  # how Linux tells that the other end of a terminal is closed
        return b''
