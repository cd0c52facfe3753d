"""The scripts in ``benchmarks/`` at toy size."""

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
UPERNET = ROOT / 'configs' / 'upernet_convnext_atto_sample.py'
MASK_RCNN = ROOT / 'configs' / 'mask_rcnn_convnext_atto_sample.py'


@pytest.fixture
def run_script(monkeypatch, tmp_path):
    """``run_script(name, *options)`` runs a script and returns the results in its record."""
    monkeypatch.syspath_prepend(ROOT / 'benchmarks')

    def run(name, *options):
        out = tmp_path / 'out.json'
        arguments = [str(option) for option in (*options, '--out', out)]
        monkeypatch.setattr(sys, 'argv', [name, *arguments])
        importlib.import_module(name).main()
        return json.loads(out.read_text())['results']

    return run


@pytest.mark.slow
@pytest.mark.parametrize('config', [UPERNET, MASK_RCNN], ids=['upernet', 'mask_rcnn'])
def test_model_memory(config, run_script, capsys):
    options = ['--configs', config, '--size', 64, '--amp', 'bf16', '--modes', 'low']
    full, low = run_script('model_memory', *options)
    assert (full['mode'], low['mode']) == ('full', 'low')
    assert low['saved'] < 0.4 * full['saved']
    assert full['model peak'] is None or full['model peak'] > full['saved']
    assert '| low ' in capsys.readouterr().out


@pytest.mark.parametrize(
    'options, message',
    [
        (['--configs', 'none.py'], 'none.py'),
        (['--configs', ROOT / 'configs' / 'convnext_t_in1k.py'], 'has no model of mmseg or mmdet'),
    ],
)
def test_model_memory_refuses(options, message, run_script):
    with pytest.raises(ValueError, match=message):
        run_script('model_memory', *options)


def test_cpu_blocks(run_script, capsys):
    options = ['--dims', 8, 16, '--sides', 2, 4, '--rounds', 1, '--threads', 1]
    results = run_script('cpu_blocks', *options)
    assert len(results) == 3 * 2 * 2
    assert all(result['half'] > 0 < result['full'] for result in results)
    assert 'packed' in capsys.readouterr().out


@pytest.mark.slow
def test_gpu_at_toy_size(run_script, capsys):
    pytest.importorskip('triton')
    device, *results = run_script('gpu', '--toy', '--peers', 'timm')
    assert device['kind'] == 'device'
    assert [result for result in results if 'error' in result] == []
    kinds = [result['kind'] for result in results]
    # timm in two memory formats and modes, ours in one; each compiled in both modes
    assert kinds.count('backbone') == 2 * 2 + 1 + 2 * 2
    operations = [result for result in results if result['kind'] == 'operation']
    assert all(result['difference'] < 0.01 for result in operations)
    printed = capsys.readouterr().out
    assert '| ours half, channels_last, Triton ' in printed
    assert '| depthwise_conv ' in printed


def test_gpu_needs_a_gpu(run_script, monkeypatch, capsys):
    pytest.importorskip('triton')
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    with pytest.raises(SystemExit):
        run_script('gpu')
    assert 'torch finds no GPU; --toy runs without one' in capsys.readouterr().err
