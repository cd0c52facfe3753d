"""The command, run in this process, and the tools, run as processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from convnext_dense import cli

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture
def command(capsys):
    """``command('train', 'absent.py', code=1)`` returns what the command prints on both streams."""

    def run(*args, code=0):
        capsys.readouterr()
        try:
            returned = cli.main([str(arg) for arg in args])
        except SystemExit as stop:  # argparse: --help, or arguments that it refuses
            returned = stop.code
        printed = capsys.readouterr()
        assert returned == code, printed.out + printed.err
        return printed.out + printed.err

    return run


@pytest.fixture(scope='session')
def run_tool():
    """``run_tool('train', 'a.py', cwd=folder)`` runs tools/train.py; returns what it prints."""

    def run(name, *args, cwd, code=0):
        result = subprocess.run(
            [sys.executable, TOOLS / f'{name}.py', *map(str, args)],
            cwd=cwd,
            timeout=600,
            capture_output=True,
            text=True,
        )
        printed = result.stdout + result.stderr
        assert result.returncode == code, printed
        return printed

    return run
