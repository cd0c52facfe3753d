"""The tool, end to end on files."""

import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from timm.models.convnext import ConvNeXt

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'convert.py'
SIZES = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), num_classes=3)


@pytest.fixture
def convert(command):
    return lambda *args, code=0: command('convert', *args, code=code)


@pytest.fixture
def source(tmp_path):
    """As timm's training writes it."""
    model, averaged = ConvNeXt(**SIZES), ConvNeXt(**SIZES)
    path = tmp_path / 'last.pth'
    torch.save(
        dict(
            state_dict=model.state_dict(),
            state_dict_ema=averaged.state_dict(),
            epoch=1,
            optimizer=dict(state={0: torch.ones(3)}),
            args=Namespace(lr=0.1),
        ),
        path,
    )
    return path, model.state_dict(), averaged.state_dict()


def assert_same(one, other):
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_there_and_back(tmp_path, source, convert):
    path, plain, averaged = source
    out = convert(path, tmp_path / 'new' / 'ours.safetensors')
    assert 'layout timm, under state_dict_ema' in out and '(1, 1, 2, 1), (8, 16, 24, 32)' in out
    assert 'layout facebook, 65 tensors' in out and 'left out' not in out
    ours = load_file(tmp_path / 'new' / 'ours.safetensors')
    assert {'stages.2.1.pwconv1.weight', 'norm.bias', 'head.weight'} <= ours.keys()
    convert(tmp_path / 'new' / 'ours.safetensors', tmp_path / 'back.pth', '--to', 'timm')
    assert_same(torch.load(tmp_path / 'back.pth'), averaged)
    convert(path, tmp_path / 'back.pth', '--to', 'timm', '--no-ema', '--force')
    assert_same(torch.load(tmp_path / 'back.pth'), plain)
    out = convert(path, tmp_path / 'features.bin', '--to', 'timm_features')
    assert '  left out  norm.weight, norm.bias, head.weight, head.bias (features_only has no' in out


def test_segmentor_keeps_its_heads_and_classes(tmp_path, source, convert):
    path, _, _ = source
    convert(path, tmp_path / 'ours.pth')
    ours = torch.load(tmp_path / 'ours.pth')
    trunk = {
        f'backbone.{key}': value
        for key, value in ours.items()
        if not key.startswith(('norm', 'head'))
    }
    head = {'decode_head.conv_seg.weight': torch.ones(2, 3)}
    torch.save(
        dict(
            state_dict=trunk | head, meta=dict(dataset_meta=dict(classes=('a', 'b'))), optimizer={}
        ),
        tmp_path / 'segmentor.pth',
    )
    out = convert(tmp_path / 'segmentor.pth', tmp_path / 'theirs.pth', '--to', 'mmpretrain')
    assert "names below 'backbone.'" in out
    theirs = torch.load(tmp_path / 'theirs.pth')
    assert theirs.keys() == {'state_dict', 'meta'} and theirs['meta']['dataset_meta'][
        'classes'
    ] == ('a', 'b')
    assert 'backbone.stages.0.0.depthwise_conv.weight' in theirs['state_dict']
    assert torch.equal(
        theirs['state_dict']['decode_head.conv_seg.weight'], head['decode_head.conv_seg.weight']
    )


def test_errors_are_one_line_and_leave_no_file(tmp_path, source, convert):
    path, _, _ = source
    torch.save({'model': {'conv1.weight': torch.ones(1)}}, tmp_path / 'resnet.pth')
    kept = tmp_path / 'kept.pth'
    kept.write_text('mine')
    before = sorted(tmp_path.iterdir())
    for args, message in [
        ((path, kept), 'exists. Give another name, or --force'),
        ((path, tmp_path / 'x.onnx'), 'must end in .pth'),
        ((tmp_path / 'none.pth', tmp_path / 'x.pth'), 'none.pth'),
        ((tmp_path / 'resnet.pth', tmp_path / 'x.pth'), 'no ConvNeXt'),
        (
            (tmp_path / 'resnet.pth', tmp_path / 'x.pth', '--ema'),
            'asked for the averaged (EMA) weights',
        ),
        ((kept, tmp_path / 'x.pth'), 'kept.pth'),
    ]:
        out = convert(*args, code=1)
        assert out.startswith('error: ') and message in out and out.count('\n') == 1
    assert sorted(tmp_path.iterdir()) == before and kept.read_text() == 'mine'


def test_as_a_process(tmp_path):
    done = subprocess.run(
        [sys.executable, str(TOOL), str(tmp_path / 'none.pth'), str(tmp_path / 'x.pth')],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (
        done.returncode == 1 and done.stderr.startswith('error: ') and done.stderr.count('\n') == 1
    )


def test_every_layout_can_be_chosen_and_no_other(tmp_path, command):
    """The command lists the names itself, to start without torch."""
    from convnext_dense.checkpoints import LAYOUTS
    from convnext_dense.cli.convert import LAYOUT_NAMES

    assert list(LAYOUT_NAMES) == list(LAYOUTS)
    out = command('convert', 'none.pth', tmp_path / 'x.pth', '--to', 'tim', code=2)
    assert "invalid choice: 'tim'" in out
