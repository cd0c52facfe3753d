"""``benchmarks/gpu.py`` without a GPU: what it plans and concludes, what it keeps when it breaks, and a toy run."""

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / 'benchmarks'
SIZE = 'tiny 16x3x512x512'


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import gpu

    return gpu


@pytest.fixture
def run(gpu, tmp_path):
    """A process's part of a toy run."""
    from gpu_run import Run

    file = tmp_path / 'gpu.json'
    file.write_text(json.dumps({'settings': {'toy': True}}))
    return Run(file, ends=time.time() + 60)


def _stages(ours, theirs, right=True):
    return {
        'stage 1': {'ms': {'triton': ours, 'torch': 9.0, 'library': theirs}, 'right': right},
        'stage 2': {'cannot': 'at most 256 channels'},
    }


def test_kernels_that_are_worth_it(gpu):
    """Faster than torch's better way, right, and so with each switch."""
    report = {
        'facts': {'device': {'name': 'H200'}},
        'operations': {
            SIZE: {
                'layer_norm': _stages(1.0, 2.0),
                'gelu_backward': _stages(2.0, 1.0),
                'linear_gelu': _stages(1.0, 2.0),
                'linear_gelu keep=False': _stages(2.0, 1.0),
                'linear_residual': _stages(1.0, 2.0, right=False),
                'mlp_backward': {**_stages(1.0, 2.0), 'stage 2': {'error': 'out of memory'}},
            },
            'base 16x3x512x512': {
                'layer_norm': {'stage 1': {'not run': '1 s may be needed, 0 s were left'}}
            },
        },
    }
    assert gpu.gpu_table.winners(report) == {
        'layer_norm': f'H200, bf16; times faster by stage, {SIZE}: 2.00'
    }


def test_goals(gpu):
    entries = {
        'timm, channels_last': {'ms': 30.0},
        'timm, channels_last, compile': {'ms': 20.0},
        'authors, channels_last': {'error': ''},
        'ours, channels_last, kernels auto': {'ms': 14.0},
        'ours low, channels_last, kernels auto': {'ms': 13.0},
    }
    found = gpu.gpu_table.judge(f'{SIZE} training step', entries)
    assert (found['ours'], found['peer']) == (
        'ours low, channels_last, kernels auto',
        'timm, channels_last, compile',
    )
    assert found['ratio'] == pytest.approx(20 / 13, abs=1e-3) and found['verdict'] == 'met'
    assert (
        found['to_anchor'] == pytest.approx(30 / 13, abs=1e-3)
        and found['verdict_to_anchor'] == 'met'
    )
    assert gpu.gpu_table.judge(f'{SIZE} inference', entries)['verdict'] == 'missed'
    assert (
        gpu.gpu_table.judge(f'{SIZE} inference', {'ours': {'error': ''}})['verdict']
        == 'not measured'
    )


def test_memory_goals(gpu):
    found = gpu.gpu_table.judge_memory(
        {
            'timm': {'block_bytes': 100, 'peak_bytes': 100},
            'authors': {'block_bytes': 120, 'peak_bytes': 80},
            'ours': {'block_bytes': 46, 'peak_bytes': 60},
            'ours low': {'block_bytes': 30, 'peak_bytes': 90},
        }
    )
    assert found['ours'] == {
        'block': 0.46,
        'goal': 0.5,
        'verdict': 'met',
        'peak': 0.75,
        'peak_verdict': 'met',
    }
    assert (found['ours low']['verdict'], found['ours low']['peak_verdict']) == ('missed', 'missed')


def test_plan(gpu):
    rows = gpu.plan(gpu.parse([]))
    assert rows[0][:2] == (['facts', 'operations'], 'tiny') and not any(
        'tune' in parts for parts, _, _ in rows
    )
    assert {arch for _, arch, _ in rows} == {'tiny', 'base', 'large'}
    rows = gpu.plan(gpu.parse(['--only', 'backbones', '--arch', 'base']))
    assert [row[:2] for row in rows] == [(['facts'], 'tiny'), (['backbones'], 'base')]
    assert ['tune'] in [parts for parts, _, _ in gpu.plan(gpu.parse(['--tune']))]


def test_every_item_is_kept(run):
    place = run.at('part')
    assert run.item(place, 'good', lambda: {'ms': 1.0}) == {'ms': 1.0}
    assert run.item(place, 'good', pytest.fail) == {'ms': 1.0}  # of a process before this one
    run.item(place, 'bad', lambda: torch.empty(-1))
    run.item(place, 'late', pytest.fail, needs=1e3)
    kept = json.loads(run.file.read_text())['part']
    assert kept['bad']['error'].startswith('RuntimeError: ') and set(kept) == {'good', 'bad'}
    assert place['late']['not run'].startswith('1000 s may be needed')
    with pytest.raises(KeyboardInterrupt):
        run.item(place, 'cut', _interrupt)
    assert json.loads(run.file.read_text())['part']['cut'] == {'error': 'did not finish'}


def _interrupt():
    raise KeyboardInterrupt


@pytest.mark.parametrize('statuses, last', [([3, -11, 0], 0), ([1], 1), ([4], 4), (['cut'], 3)])
def test_goes_on_behind_what_breaks(gpu, monkeypatch, statuses, last):
    """A GPU that takes no more work, or a crash, asks for another process; a mistake of ours does not."""
    left = list(statuses)

    def start(command, env, timeout):
        status = left.pop(0)
        if status == 'cut':
            raise subprocess.TimeoutExpired(command, timeout)
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(subprocess, 'run', start)
    assert gpu.measure(gpu.parse([]), ['operations'], 'tiny', time.time() + 60) == last and not left


def test_arguments_fit_every_operation(run):
    """New operations too: shapes come from the dispatcher's table."""
    from gpu_operations import arguments, forms

    from convnext_dense.ops import dispatch, reference

    for operation in dispatch.OPERATIONS:
        args = arguments(run, operation, (2, 3, 4), 8)
        missing = 'CUDA device', 'not installed'  # which says nothing of the arguments
        assert all(
            any(one in reason for one in missing) for reason in dispatch.cannot(operation, *args)
        ), operation
        for flags in forms(operation):
            getattr(reference, operation)(*[one.float() for one in args], **flags)


def test_error_of_a_kernel(run):
    from gpu_operations import compare

    args = [torch.randn(2, 3, 8), torch.ones(8), torch.zeros(8)]
    exact = torch.nn.functional.layer_norm(args[0], (8,), eps=1e-6)
    mean, rstd = args[0].mean(-1), (args[0].var(-1, unbiased=False) + 1e-6).rsqrt()
    for scale, right in ((1.0, True), (1.001, False), (float('nan'), False)):
        calls = {
            'triton': lambda: (exact * scale, mean, rstd),
            'torch': lambda: (exact, mean, rstd),
        }
        assert compare(calls, 'layer_norm', args, {})['right'] is right


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
@pytest.mark.parametrize('before', [None, 'an earlier report'])
def test_refuses_without_a_gpu(tmp_path, before):
    file = tmp_path / 'gpu.json'
    if before:
        file.write_text(before)
    done = subprocess.run(
        [sys.executable, BENCHMARKS / 'gpu.py', '--out', file], capture_output=True, text=True
    )
    assert done.returncode == 1 and (file.read_text() if file.exists() else None) == before
    assert 'no CUDA GPU is found' in done.stderr and '--toy' in done.stderr


@pytest.mark.parametrize('arguments', [['--minutes', '0'], ['--out', '.']])
def test_wrong_arguments_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        importlib.import_module('gpu').main(arguments)
    assert '--minutes must be more than 0, and --out a file' in capsys.readouterr().err


@pytest.mark.slow
def test_toy_run(tmp_path):
    """Every part, without an error but for what a CPU does not have."""
    pytest.importorskip('triton')
    file = tmp_path / 'gpu.json'
    done = subprocess.run(
        [
            sys.executable,
            BENCHMARKS / 'gpu.py',
            '--toy',
            '--tune',
            '--peers',
            'timm',
            'authors',
            '--minutes',
            '20',
            '--out',
            file,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(file.read_text())
    assert 'toy: times mean nothing' in done.stdout and report['settings']['note'] in done.stdout
    assert not report.get('failed') and list(_errors(report)) == ['facts/nvidia_smi']
    for operation, stages in report['operations']['toy 1x3x32x32'].items():
        assert all(entry['right'] and entry['ms']['triton'] for entry in stages.values()), operation
    for case in ('training step', 'inference'):
        forms = report['backbones'][f'toy 1x3x32x32 {case}']
        assert {
            'timm, channels_last',
            'authors, channels_first',
            'ours plain, channels_last, kernels auto',
            'ours low, channels_last, kernels triton',
        } <= set(forms)
        assert all(entry['ms'] > 0 for entry in forms.values())
        assert len(report['residual_dtype'][f'toy 1x3x32x32 {case}']) == 4
    for name, entry in report['agreement']['toy'].items():
        assert entry['maps'] < 2e-3 and entry['gradients'] < 3e-3, name
    assert report['memory goals']['toy 1x3x32x32']['ours']['block'] < 0.5
    assert len(report['goals']) == 2 and report['MEASURED'] == {}


def _errors(entry, path=''):
    """Paths of all reasons why something was not measured; a kernel's relative error is a dict."""
    for name, value in entry.items() if isinstance(entry, dict) else ():
        if name == 'error' and isinstance(value, str):
            yield path
        yield from _errors(value, f'{path}/{name}'.strip('/'))
