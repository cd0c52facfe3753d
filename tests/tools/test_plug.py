"""tools/plug.py as a user calls it, on a config that mmseg ships: what it writes, prints and refuses."""

import subprocess
import sys
from pathlib import Path

import mmseg
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = (
    Path(mmseg.__file__).parent
    / '.mim'
    / 'configs'
    / 'upernet'
    / 'upernet_r18_4xb4-160k_ade20k-512x512.py'
)


def run_tool(*args, cwd, code=0):
    result = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'plug.py', *map(str, args)],
        cwd=cwd,
        timeout=300,
        capture_output=True,
        text=True,
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_plug_prints_the_difference_and_refuses_a_second_time(tmp_path):
    out = run_tool(
        SHIPPED,
        '--arch',
        'v2_atto',
        '--out',
        'new.py',
        '--output-stride',
        '16',
        '--checkpoint',
        'none',
        cwd=tmp_path,
    )
    for line in (
        "- model.backbone.type = 'ResNetV1c'",
        "+ model.backbone.type = 'convnext_dense.ConvNeXt'",
        '+ model.decode_head.in_channels = [40, 80, 160, 320]',
        '+ model.backbone.output_stride = 16',
        "+ optim_wrapper.optimizer.type = 'AdamW'",
        'Written: new.py',
    ):
        assert line in out.splitlines()
    cfg = Config.fromfile(tmp_path / 'new.py')
    assert cfg.model.backbone.get('init_cfg') is None and 'random weights' in out
    assert cfg.train_dataloader == Config.fromfile(SHIPPED).train_dataloader
    out = run_tool(SHIPPED, '--out', 'new.py', cwd=tmp_path, code=1)
    assert 'error: new.py exists; --force writes over it' in out and 'Traceback' not in out
