"""tools/benchmark.py and benchmarks/cpu.py as a user calls them, at toy size, and what they refuse."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from convnext_dense.benchmark import networks

ROOT = Path(__file__).resolve().parents[2]
TOY = ['--arch', 'atto', '--shape', '1x3x64x64', '--rounds', '1', '--threads', '1']


@pytest.fixture
def run_here(monkeypatch, tmp_path):
    """``main`` of a script in this process, which has imported everything already, in an empty folder."""

    def run(path, *args):
        spec = importlib.util.spec_from_file_location('script', ROOT / path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, 'argv', [str(ROOT / path), *map(str, args)])
        monkeypatch.setattr(sys, 'path', list(sys.path))
        return module.main()

    monkeypatch.chdir(tmp_path)
    return run


@pytest.mark.parametrize(
    'args, message',
    [
        (
            ['--shape', '512'],
            'error: a shape is batch x 3 x height x width, such as 1x3x512x512, with sides of 32 or more; '
            "got '512'",
        ),
        (['--networks', 'timmm'], "error: no network 'timmm'; choose from all, peers, 'timm',"),
        (['--arch', 'huge'], "error: unknown arch 'huge'"),
        (['--rounds', '0'], 'error: at least one round is needed; got 0'),
        (
            ['--networks', 'ours inference'],
            "error: 'ours inference' has no backward pass: --mode forward, or add another",
        ),
        (['--threads', '0'], 'error: at least one thread is needed; got 0'),
        (
            ['--values', '64'],
            'error: --values are of an axis: add --scaling with one of size, batch, width, depth',
        ),
        (
            ['--scaling', 'size', '--values', '64', '31'],
            "error: values of 'size' are 32 or more; got 31",
        ),
        (
            ['--scaling', 'batch', '--values', '1.5'],
            "error: values of 'batch' are whole numbers; got 1.5",
        ),
        (
            ['--scaling', 'depth', '--values', 'inf'],
            "error: values of 'depth' are 0.05 or more; got inf",
        ),
    ],
)
def test_wrong_arguments_are_refused(args, message, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command('benchmark', *args, code=1).startswith(message)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_refused_at_once(command, run_here, tmp_path):
    (tmp_path / 'file').touch()
    args = ['--networks', 'ours', 'timm', '--out', tmp_path / 'file']
    message = 'error: --out must be a folder, or a place for one; .*file: File exists'
    assert re.match(message, command('benchmark', *args, code=1))
    with pytest.raises(SystemExit, match=message):
        run_here('benchmarks/cpu.py', *args)


def test_a_comparison_is_printed_and_written(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = command(
        'benchmark',
        *TOY,
        '--device',
        'cpu',
        '--mode',
        'train',
        '--networks',
        'timm',
        '--dtype',
        'bf16',
    )
    for words in ('train, atto, 1x3x64x64, bf16', 'x fastest peer', '| timm, channels_last'):
        assert words in out
    folder = tmp_path / 'work_dirs' / 'benchmark'
    assert sorted(path.name for path in folder.iterdir()) == ['train.json', 'train.md', 'train.png']
    record = json.loads((folder / 'train.json').read_text())
    (result,) = record['results']
    assert result['error'] is None and len(result['seconds']) == 2 and result['saved_bytes'] > 0


@pytest.mark.slow
def test_scaling_in_a_process_of_its_own(tmp_path):
    run = subprocess.run(
        [
            sys.executable,
            ROOT / 'tools' / 'benchmark.py',
            *TOY,
            '--device',
            'cpu',
            '--scaling',
            'size',
            '--values',
            '64',
            '128',
            '--networks',
            'ours',
            'timm',
            '--mode',
            'forward',
            '--out',
            'curves',
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert '- timm, channels_last: slope of time' in run.stdout
    assert sorted(path.name for path in (tmp_path / 'curves').iterdir()) == [
        f'forward_by_size.{suffix}' for suffix in ('json', 'md', 'png')
    ]


@pytest.mark.slow
def test_cpu_script_says_which_goals_are_met(run_here, tmp_path, capsys):
    run_here(
        'benchmarks/cpu.py',
        *TOY,
        '--networks',
        'ours',
        'timm',
        '--mode',
        'train',
        '--compiled',
        '--repeat',
        2,
        '--malloc',
        'keep',
    )
    out = capsys.readouterr().out
    for label, goal in (('fastest library default', '1.5x'), ('fastest peer', '1.0x')):
        line = next(
            line for line in out.splitlines() if line.startswith(f'train against {label}: ')
        )
        assert f'goal {goal} ' in line and line.endswith(('met', 'MISSED'))
    folder = tmp_path / 'work_dirs' / 'benchmark_cpu'
    assert (
        len(json.loads((folder / 'train.json').read_text())['results'][0]['seconds']) == 2
    )  # a median for each run
    assert (folder / 'run2' / 'train.json').is_file()


@pytest.mark.slow
@pytest.mark.skipif(not networks.ASIDE.is_dir(), reason='mmpretrain is not set up: make test does')
def test_every_network_runs_and_compiles(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command(
        'benchmark',
        *TOY,
        '--device',
        'cpu',
        '--mode',
        'forward',
        '--compile',
        'default',
        '--memory-format',
        'channels_first',
    )
    record = json.loads((tmp_path / 'work_dirs' / 'benchmark' / 'forward.json').read_text())
    assert {one['label']: one['error'] for one in record['results'] if one['error']} == {}
    assert (
        len(record['results']) == 2 * len(networks.NETWORKS) - 1
    )  # 'ours inference' is not compiled


@pytest.mark.slow
def test_startup_script_measures(run_here, capsys):
    run_here('benchmarks/startup.py', '--repeat', 1)
    out = capsys.readouterr().out
    assert 'something compiled: False' in out and out.count('no compiler   ') >= 2
