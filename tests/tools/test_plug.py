"""``convnext-dense plug`` on a config that mmseg ships: what it writes, prints and refuses."""

from pathlib import Path

import mmseg
from mmengine.config import Config

CONFIGS = Path(mmseg.__file__).parent / '.mim' / 'configs'
SHIPPED = CONFIGS / 'upernet' / 'upernet_r18_4xb4-160k_ade20k-512x512.py'


def test_prints_the_difference_and_refuses_a_second_time(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ['--arch', 'v2_atto', '--output-stride', '16', '--checkpoint', 'none']
    out = command('plug', SHIPPED, '--out', 'new.py', *options)
    lines = out.splitlines()
    removed = '\n'.join(line for line in lines if line.startswith('-'))
    added = '\n'.join(line for line in lines if line.startswith('+'))
    assert "type='ResNetV1c'" in removed
    for setting in ("type='convnext_dense.ConvNeXt'", 'output_stride=16', "type='AdamW'"):
        assert setting in added
    assert 'random weights' in out
    assert lines[-1] == 'Written: new.py'

    new = Config.fromfile('new.py')
    assert new.model.backbone.get('init_cfg') is None
    assert new.train_dataloader == Config.fromfile(SHIPPED).train_dataloader

    out = command('plug', SHIPPED, '--out', 'new.py', code=1)
    assert 'error: new.py exists; --force writes over it' in out
