"""Files whose loading would run code leave no mark: the reader, and every door that leads to it."""

import os
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from convnext_dense import ConvNeXt
from convnext_dense.checkpoints import read_checkpoint
from convnext_dense.checkpoints.read import read_file
from convnext_dense.data import RECORDS
from convnext_dense.errors import CheckpointError

ROOT = Path(__file__).resolve().parents[2]


class Calls:
    """Pickles as a call of ``function``."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call

    def __call__(self):
        raise AssertionError('only its pickle is used')


def marks(path):
    """Ways to leave a file at ``path`` when they are unpickled."""
    return {
        'open': Calls(open, str(path), 'w'),
        'system': Calls(os.system, f'touch {path}'),
        'eval': Calls(eval, f'open({str(path)!r}, "w")'),
        'getattr': Calls(Calls(getattr, Path, 'touch'), path),
        'in the command line': dict(model={}, args=Calls(exec, f'open({str(path)!r}, "w")')),
        'nested load': Calls(torch.load, str(path)),
        'as a key': {Calls(os.mkdir, str(path)): 1},
        'in an ordered dict': OrderedDict(w=[(Calls(os.mkdir, str(path)),)]),
    }


@pytest.fixture(params=sorted(marks(Path('x'))))
def hostile(request, tmp_path):
    torch.save(marks(tmp_path / 'marker')[request.param], tmp_path / 'hostile.pth')
    yield tmp_path / 'hostile.pth'
    assert not (tmp_path / 'marker').exists()


@pytest.mark.parametrize('kind', ['zip', 'legacy', 'plain pickle', 'old protocol'])
def test_reader_refuses_in_one_line(tmp_path, kind):
    path, mark = tmp_path / 'hostile.pth', marks(tmp_path / 'marker')['open']
    if kind == 'plain pickle':
        path.write_bytes(pickle.dumps(mark))
    elif kind == 'old protocol':
        path.write_bytes(pickle.dumps(mark, 0))
    else:
        torch.save(mark, path, _use_new_zipfile_serialization=kind == 'zip')
    with pytest.raises(
        CheckpointError, match='hostile.pth cannot be read as a checkpoint: '
    ) as caught:
        read_file(path)
    assert '\n' not in str(caught.value) and not (tmp_path / 'marker').exists()


def test_every_way_is_refused(hostile):
    with pytest.raises(
        CheckpointError, match='holds more than weights.*Nothing in it was run.*--trust-pickle'
    ):
        read_file(hostile)


def test_init_cfg_of_the_backbone(hostile):
    backbone = ConvNeXt(
        dict(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8)),
        init_cfg=dict(type='Pretrained', checkpoint=str(hostile)),
    )
    with pytest.raises(CheckpointError, match='holds more than weights'):
        backbone.init_weights()


def test_what_was_allowed_elsewhere_is_not_allowed_here(hostile):
    """Mmengine of OneDL, for one, puts getattr and numpy's functions on torch's list."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals(
        [os.system, open, eval, exec, getattr, os.mkdir, torch.load, np.dtype]
    )
    mine = torch.serialization.get_safe_globals()
    try:
        with pytest.raises(CheckpointError):
            read_file(hostile)
        assert set(torch.serialization.get_safe_globals()) == set(mine)  # and the list is as it was
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


class Described:
    """An array whose dtype says that its bytes are Python objects, which numpy would believe."""

    def __init__(self, kind, state):
        self.kind, self.state = kind, state

    def __reduce__(self):
        return np.dtype, (self.kind, False, True), self.state


class Pointers:
    def __init__(self, kind):
        self.kind = kind

    def __reduce__(self):
        rebuild = np.zeros(1).__reduce__()[0]
        return (
            rebuild,
            (np.ndarray, (0,), b'b'),
            (1, (1,), self.kind, False, struct.pack('P', 0x41414141)),
        )


@pytest.mark.parametrize(
    'kind',
    [
        Described('f8', (3, '<', None, ('a',), {'a': (np.dtype('O'), 0)}, 8, 8, 0)),
        Described('f8', (3, '<', (np.dtype('f8'), (1000,)), None, None, 8, 8, 0)),
        Described('O8', (3, '|', None, None, None, -1, -1, 0)),
        np.dtype('O'),
    ],
)
def test_numpy_types_cannot_turn_bytes_into_objects(tmp_path, kind):
    torch.save(dict(w=torch.ones(1), a=Pointers(kind)), tmp_path / 'c.pth')
    with pytest.raises(CheckpointError, match='neither numbers nor text'):
        read_file(tmp_path / 'c.pth')


def test_numpy_flags_and_lengths_in_a_file_are_not_believed(tmp_path):
    flags = Described('f8', (3, '<', None, None, None, -1, -1, 63))  # "holds references"
    torch.save(dict(a=Pointers(flags)), tmp_path / 'c.pth')
    assert read_file(tmp_path / 'c.pth')['a'].dtype.flags == np.dtype('f8').flags
    torch.save(
        dict(a=Calls(np.float64(0).__reduce__()[0], np.dtype('f8'), b'short')), tmp_path / 'c.pth'
    )
    with pytest.raises(CheckpointError):
        read_file(tmp_path / 'c.pth')


def test_mmengines_history_is_skipped_and_its_getattr_reaches_nothing(tmp_path):
    from mmengine.logging import HistoryBuffer

    buffer = HistoryBuffer([1.0], [1])
    torch.save(dict(state_dict=dict(w=torch.ones(2)), message_hub=buffer), tmp_path / 'c.pth')
    assert read_checkpoint(tmp_path / 'c.pth')['w'].tolist() == [1, 1]
    content = read_file(tmp_path / 'c.pth')
    with pytest.raises(TypeError, match='cannot be written again'):
        pickle.dumps(content)


def test_trust_pickle_runs_it_and_says_so(tmp_path):
    torch.save(dict(a=marks(tmp_path / 'marker')['open']), tmp_path / 'hostile.pth')
    with (
        pytest.warns(UserWarning, match='hostile.pth is read by pickle.*RUNS NOW'),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings('ignore', category=ResourceWarning)
        read_file(tmp_path / 'hostile.pth', trust_pickle=True)['a'].close()
    assert (tmp_path / 'marker').exists()


def test_trust_pickle_says_nothing_where_it_is_not_needed(tmp_path):
    torch.save(dict(w=torch.ones(2)), tmp_path / 'c.pth')
    assert read_file(tmp_path / 'c.pth', trust_pickle=True)['w'].tolist() == [1, 1]
    (tmp_path / 'page.pth').write_text('<html>')
    with pytest.raises(CheckpointError, match='a web page'):
        read_file(tmp_path / 'page.pth', trust_pickle=True)


def test_an_archive_with_a_second_pickle(tmp_path):
    """A member that torch does not read is not run either."""
    torch.save(dict(w=torch.ones(2)), tmp_path / 'c.pth')
    with zipfile.ZipFile(tmp_path / 'c.pth', 'a') as archive:
        archive.writestr('c/other.pkl', pickle.dumps(marks(tmp_path / 'marker')['open']))
    assert read_file(tmp_path / 'c.pth')['w'].tolist() == [1, 1]
    assert not (tmp_path / 'marker').exists()


CONFIG = """
_base_ = [{base!r}]
model = dict(
    backbone=dict(arch=dict(_delete_=True, depths=(1, 1, 1, 1), dims=(8, 8, 8, 8))),
    decode_head=dict(in_channels=[8, 8, 8, 8], channels=8))
train_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root='ade'))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root='ade'))
test_dataloader = val_dataloader
"""


@pytest.mark.slow
@pytest.mark.parametrize('door', ['resume', 'load_from', 'init_cfg', 'test', 'predict', 'convert'])
def test_doors_of_the_tools(tmp_path, door):
    """The tools as a user calls them, on the stack that is installed."""
    RECORDS['ade20k'].sample.write(tmp_path / 'ade', num_train=2, num_val=1)
    (tmp_path / 'c.py').write_text(
        CONFIG.format(base=str(ROOT / 'configs' / 'upernet_convnext_atto_sample.py'))
    )
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'last_checkpoint').write_text('run/iter_1.pth')
    path = tmp_path / 'run' / 'iter_1.pth'
    torch.save(
        dict(state_dict=dict(w=torch.ones(1)), meta=marks(tmp_path / 'marker')['open']), path
    )
    tool, args = {
        'resume': ('train', ['c.py', '--work-dir', 'run', '--resume']),
        'load_from': ('train', ['c.py', '--cfg-options', f'load_from={path}']),
        'init_cfg': (
            'train',
            [
                'c.py',
                '--cfg-options',
                'model.backbone.init_cfg.type=Pretrained',
                f'model.backbone.init_cfg.checkpoint={path}',
            ],
        ),
        'test': ('test', ['c.py', path]),
        'predict': ('predict', ['c.py', path, 'ade/images/validation']),
        'convert': ('convert', [path, 'out.safetensors', '--to', 'timm']),
    }[door]
    run = subprocess.run(
        [sys.executable, ROOT / 'tools' / f'{tool}.py', *map(str, args)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    out = run.stdout + run.stderr
    assert run.returncode != 0 and not (tmp_path / 'marker').exists(), out
    last = out.strip().splitlines()[-1]
    assert (
        last.startswith('error: ')
        and 'iter_1.pth cannot be read as a checkpoint: it holds more than' in last
    ), out
    assert 'Traceback' not in out
