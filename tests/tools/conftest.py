"""The command, run in this process."""

import pytest

from convnext_dense import cli


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
