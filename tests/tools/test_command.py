"""The command itself: help without torch, the version, errors without a traceback."""

import subprocess
import sys

import pytest

import convnext_dense
from convnext_dense.cli import COMMANDS

HELP = """
import sys
from convnext_dense.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    assert stop.code == 0
heavy = {'torch', 'mmengine', 'mmcv', 'timm'} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize('args', [['--help'], ['train', '--help'], ['data', '--help']])
def test_help_imports_no_torch(args):
    run = subprocess.run([sys.executable, '-c', HELP, *args], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert 'usage: convnext-dense' in run.stdout


def test_help_lists_every_command(command):
    printed = command('--help')
    assert all(f'    {name}' in printed for name in COMMANDS)


@pytest.mark.parametrize('name', COMMANDS)
def test_each_command_has_help(name, command):
    assert f'usage: convnext-dense {name}' in command(name, '--help')


def test_version(command):
    assert command('--version').strip() == convnext_dense.__version__


def test_an_error_is_one_message_without_a_traceback(command):
    assert command('train', 'absent.py', code=1).startswith(
        'error: config absent.py does not exist'
    )


def test_unknown_arguments_are_refused(command):
    assert 'invalid choice' in command('trane', code=2)
    assert 'unrecognized arguments: --smaple' in command('train', 'a.py', '--smaple', code=2)
