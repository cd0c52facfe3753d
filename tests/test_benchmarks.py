"""``training_modes.py``, ``model_memory.py`` and ``cpu_blocks.py`` of ``benchmarks`` at toy size."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from convnext_dense.data.ade20k import write_sample

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS, CONFIGS = ROOT / 'benchmarks', ROOT / 'configs'


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def run_script(name, *args):
    run = subprocess.run(
        [sys.executable, BENCHMARKS / name, *map(str, args)], capture_output=True, text=True
    )
    return run.returncode, run.stdout, run.stderr


def make_results(**losses):
    """Of runs whose last iteration's loss is 1 + the given."""
    return {
        name.replace('_', ' ').replace(' other', ', other'): dict(
            loss=[2.0, 1.0 + last], random='a'
        )
        for name, last in losses.items()
    }


@pytest.mark.parametrize('mode, same', [(0.002, True), (0.004, False)])
def test_verdict(mode, same, capsys):
    """The yardstick is .001 off, and three times that is allowed."""
    from training_modes_table import judge

    results = make_results(fp32_plain=0.0, fp32_plain_other=0.001, fp32_default=mode)
    assert judge(results) is same and ('NOT WITHIN' in capsys.readouterr().out) is not same
    assert results['fp32 default']['ratio'] == pytest.approx(mode / 0.001)
    assert results['fp32 default']['difference'] == pytest.approx(
        dict(first=0.0, mean=mode / 2, largest=mode, end=mode)
    )


def test_other_random_numbers_are_noticed(capsys):
    from training_modes_table import judge

    results = make_results(fp32_plain=0.0, fp32_default=0.0)
    results['fp32 default']['random'] = 'b'
    assert not judge(results) and 'DIFFERENT' in capsys.readouterr().out


@pytest.mark.parametrize(
    'config', ['upernet_convnext_atto_sample.py', 'mask_rcnn_convnext_atto_sample.py']
)
def test_memory_of_whole_steps(config):
    from model_memory import make_row, plan, work

    setup = plan.Setup('', (2, 3, 64, 64), 'train')
    plain, low = (work(str(CONFIGS / config), mode, setup, 'memory') for mode in ('plain', 'low'))
    assert low['saved'] < 0.35 * plain['saved'] and low['parameters'] == plain['parameters']
    if plain['model_peak'] is not None:  # the system tells
        assert plain['model_peak'] > plain['saved']
    times = dict(seconds=[1.0, 3.0, 2.0], resident=None)
    assert make_row(low | times, plain | times)[:3] == ('low', '2.00', '-')


@pytest.mark.parametrize(
    'name, option', [('model_memory', '--configs'), ('training_modes', '--config')]
)
def test_refusals(name, option, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [name, option, 'none.py'])
    with pytest.raises(SystemExit, match='^error: config none.py does not exist'):
        importlib.import_module(name).main()


@pytest.mark.parametrize(
    'arguments, message',
    [
        (['--batch', '1'], r'needs 2 pictures or more at a time \(--batch\); got 1'),
        (
            ['--configs', str(CONFIGS / 'convnext_t_in1k.py')],
            "needs a model of mmseg or mmdet; its default_scope is 'mmengine'",
        ),
        (['--size', '32'], r'sides of 64 or more \(--size\); got 32'),
    ],
)
def test_pictures_that_cannot_be_trained_are_refused(arguments, message, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['model_memory', *arguments])
    with pytest.raises(SystemExit, match=message):
        importlib.import_module('model_memory').main()


def test_cpu_blocks(tmp_path, monkeypatch, capsys):
    cpu_blocks = importlib.import_module('cpu_blocks')
    monkeypatch.setattr(cpu_blocks, 'SMALL', 2**17)
    arguments = [
        'cpu_blocks',
        '--dims',
        '8',
        '768',
        '--sides',
        '2',
        '4',
        '--out',
        str(tmp_path),
        '--rounds',
    ]
    monkeypatch.setattr(sys, 'argv', [*arguments, '1'])
    cpu_blocks.main()
    record, out = json.loads((tmp_path / 'cpu_blocks.json').read_text()), capsys.readouterr().out
    assert record['system']['threads'] == 1 and len(record['results']) == 12
    wide = [one['chosen'] for one in record['results'] if one['dim'] == 768]
    assert wide == ['lean'] * 2 + ['plain'] * 2 + ['lean'] * 2 and out.count('* |') == 8
    assert all(one['lean'] > 0 < one['plain'] for one in record['results'])
    monkeypatch.setattr(sys, 'argv', [*arguments, '0'])
    with pytest.raises(SystemExit):
        cpu_blocks.main()
    assert 'numbers of 1 or more' in capsys.readouterr().err


@pytest.mark.slow
def test_training_modes(tmp_path):
    write_sample(tmp_path / 'ade', num_train=3, num_val=2)
    (tmp_path / 'tiny.py').write_text(f"""
_base_ = [{str(CONFIGS / 'upernet_convnext_atto_sample.py')!r}]
model = dict(backbone=dict(arch=dict(_delete_=True, depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))),
             decode_head=dict(in_channels=[8, 16, 24, 32], channels=8))
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False,
                        dataset=dict(data_root={str(tmp_path / 'ade')!r}))
""")
    code, out, errors = run_script(
        'training_modes.py',
        '--config',
        tmp_path / 'tiny.py',
        '--iterations',
        '3',
        '--runs',
        'fp32 low',
        'bf16 default, residual bf16',
        '--out',
        tmp_path / 'out',
    )
    assert code == 0, errors
    assert (
        'random numbers: the same in all runs' in out
        and (tmp_path / 'out' / 'training_modes.png').exists()
    )
    runs = json.loads((tmp_path / 'out' / 'training_modes.json').read_text())['runs']
    assert list(runs) == ['fp32 plain', 'fp32 low', 'bf16 plain', 'bf16 default, residual bf16']
    assert all(len(run['loss']) == len(run['seconds']) == 3 for run in runs.values())
    low, residual = (
        runs[one]['difference']['largest'] for one in ('fp32 low', 'bf16 default, residual bf16')
    )
    assert low < 1e-5 and 0 < residual < 0.05


@pytest.mark.slow
def test_model_memory(tmp_path):
    config = CONFIGS / 'upernet_convnext_atto_sample.py'
    code, out, errors = run_script(
        'model_memory.py',
        '--configs',
        config,
        '--size',
        '64',
        '--amp',
        'bf16',
        '--modes',
        'low',
        'plain, with_cp',
        '--out',
        tmp_path,
    )
    assert code == 0, errors
    results = json.loads((tmp_path / 'model_memory.json').read_text())['results']
    assert [one['mode'] for one in results] == ['plain', 'low', 'plain, with_cp']
    plain, low, checkpointed = (one['saved'] for one in results)
    assert (
        low < checkpointed < plain and 'backbone peak MiB' in out
    )  # the last keeps what stem and downsampling do
