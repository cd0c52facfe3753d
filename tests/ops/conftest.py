"""``interpreter``: Triton's kernels on the CPU, without a change to the process of the tests."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest


class Interpreter:
    """A process that runs kernels in Triton's interpreter; see ``interpreter.py`` for what can be asked."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name('interpreter.py'))],
            env={**os.environ, 'TRITON_INTERPRET': '1'},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def __call__(self, operation, *args, constants=None, **kwargs):
        """Outputs of an operation."""
        return self.ask('run', operation, args, kwargs, constants or {})

    def ask(self, name, *args):
        try:
            pickle.dump((name, args), self._process.stdin)
            self._process.stdin.flush()
            worked, answer = pickle.load(self._process.stdout)
        except (EOFError, BrokenPipeError):
            raise RuntimeError(
                'the process with the interpreter has ended; its error is above'
            ) from None
        assert worked, answer
        return answer

    def close(self):
        self._process.kill()  # it holds nothing, and would spend seconds on leaving torch tidily
        self._process.communicate()


@pytest.fixture(scope='session')
def interpreter():
    pytest.importorskip('triton')
    process = Interpreter()
    yield process
    process.close()
