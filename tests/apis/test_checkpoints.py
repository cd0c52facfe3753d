"""mmengine reads training state by our reader, on both stacks; the door is no wider than that."""

import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import CheckpointLoader, load_checkpoint

from convnext_dense import ConvNeXt, apis, convert_state_dict
from convnext_dense.apis import (
    CheckpointError,
    ConfigError,
    allow_training_checkpoints,
    require_fit,
)
from convnext_dense.apis import checkpoints as module
from convnext_dense.checkpoints.read import read_file

SMALL = dict(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8))


@pytest.fixture(autouse=True)
def allowed(monkeypatch):
    monkeypatch.setattr(CheckpointLoader, '_schemes', CheckpointLoader._schemes)
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0')  # put back after the test
    monkeypatch.setattr(module, '_trust_pickle', False)
    monkeypatch.setattr(module, '_prepared', {})
    allow_training_checkpoints()


class Net(torch.nn.Module):
    """A backbone and a head, as a segmentor."""

    def __init__(self):
        super().__init__()
        self.backbone = ConvNeXt(SMALL)
        self.decode_head = torch.nn.Linear(8, 2)


def test_message_hub_round_trip(tmp_path):
    hub = MessageHub('round trip')
    hub.update_scalar('train/loss', 1.5)
    hub.update_scalar('train/loss', np.float64(2.5), 3)
    hub.update_info('iter', 4)
    torch.save(
        dict(message_hub=hub.state_dict(), weights=OrderedDict(w=torch.ones(2))), tmp_path / 'c.pth'
    )
    loaded = CheckpointLoader.load_checkpoint(str(tmp_path / 'c.pth'), 'cpu')
    buffer = loaded['message_hub']['log_scalars']['train/loss']
    assert isinstance(buffer, HistoryBuffer) and buffer.data[0].tolist() == [1.5, 2.5]
    assert buffer.statistics('mean', 2) == 1.0  # (1.5 + 2.5) over counts 1 + 3
    buffer.update(7.0)
    torch.save(loaded, tmp_path / 'again.pth')
    again = CheckpointLoader.load_checkpoint(str(tmp_path / 'again.pth'), 'cpu')
    assert again['message_hub']['log_scalars']['train/loss'].current() == 7


class Opens:
    """Pickles as open(path, 'w'), which would leave a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, 'w')


def test_mmengines_loader_runs_no_code(tmp_path):
    torch.save(dict(state_dict={}, meta=Opens(str(tmp_path / 'marker'))), tmp_path / 'c.pth')
    with pytest.raises(
        CheckpointError, match='c.pth cannot be read as a checkpoint: it holds more than weights'
    ):
        load_checkpoint(torch.nn.Linear(1, 1), str(tmp_path / 'c.pth'), map_location='cpu')
    with pytest.raises(ConfigError, match='it holds more than weights'):
        require_fit(torch.nn.Linear(1, 1), str(tmp_path / 'c.pth'))
    assert not (tmp_path / 'marker').exists()


def test_torchs_switch_to_unsafe_loading_is_taken_back(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    torch.save({'w': torch.ones(1)}, tmp_path / 'a.pth')
    apis.allow_training_checkpoints()
    assert CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))['w'] == 1


def test_trust_pickle_is_asked_for_and_said(tmp_path):
    torch.save(
        dict(state_dict=torch.nn.Linear(1, 1).state_dict(), meta=Opens(str(tmp_path / 'marker'))),
        tmp_path / 'c.pth',
    )
    allow_training_checkpoints(trust_pickle=True)
    with pytest.warns(UserWarning, match='RUNS NOW'), warnings.catch_warnings():
        warnings.filterwarnings('ignore', category=ResourceWarning)
        module.os.environ.pop('TORCH_FORCE_WEIGHTS_ONLY_LOAD')
        load_checkpoint(torch.nn.Linear(1, 1), str(tmp_path / 'c.pth'), map_location='cpu')[
            'meta'
        ].close()
    assert (tmp_path / 'marker').exists()


class Reach:
    """Pickles as getattr(owner, name)."""

    def __init__(self, owner, name):
        self.owner, self.name = owner, name

    def __reduce__(self):
        return getattr, (self.owner, self.name)


@pytest.mark.parametrize(
    'reach', [Reach(OrderedDict, '__init__'), Reach(HistoryBuffer, '__init__')]
)
def test_getattr_reaches_nothing_else(tmp_path, reach):
    torch.save(reach, tmp_path / 'c.pth')
    with pytest.raises(CheckpointError, match='no statistic of a log history'):
        CheckpointLoader.load_checkpoint(str(tmp_path / 'c.pth'), 'cpu')


def test_mmengines_downloads_go_to_the_one_cache(tmp_path, monkeypatch):
    monkeypatch.setattr('torch.hub.get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(
        'torch.hub.download_url_to_file',
        lambda address, path: torch.save({'w': torch.ones(1)}, path),
    )
    assert CheckpointLoader.load_checkpoint('https://one.org/a.pth', 'cpu')['w'] == 1
    assert len(list((tmp_path / 'hub').rglob('a.*.pth'))) == 1
    with pytest.raises(CheckpointError, match='file:// are not read'):
        CheckpointLoader.load_checkpoint(f'file://{tmp_path}/a.pth', 'cpu')


@pytest.mark.parametrize('weight', [torch.ones(3, 2), torch.ones(2, 3, dtype=torch.int64), None])
def test_weights_of_another_shape_or_missing_are_refused(tmp_path, weight):
    model = torch.nn.Linear(3, 2)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'right.pth')
    require_fit(model, str(tmp_path / 'right.pth'))
    wrong = {'bias': torch.ones(2)} | ({} if weight is None else {'weight': weight})
    torch.save(dict(state_dict=wrong), tmp_path / 'wrong.pth')
    with pytest.raises(
        ConfigError, match='wrong.pth does not fit the model.*1 of its 2 weights.*weight'
    ):
        require_fit(model, str(tmp_path / 'wrong.pth'))


def test_a_file_is_read_once_and_mmengine_is_given_it(tmp_path, monkeypatch):
    reads = []
    monkeypatch.setattr(
        module, 'read_file', lambda *args, **kw: (reads.append(args), read_file(*args, **kw))[1]
    )
    trained, model, path = Net(), Net(), str(tmp_path / 'c.pth')
    torch.save(
        dict(state_dict=trained.state_dict(), meta=dict(dataset_meta=dict(classes=('sky',)))), path
    )
    require_fit(model, path)
    assert load_checkpoint(model, path)['meta']['dataset_meta'] == dict(classes=('sky',))
    assert len(reads) == 1
    assert all(
        torch.equal(value, trained.state_dict()[name]) for name, value in model.state_dict().items()
    )
    load_checkpoint(model, path)
    assert len(reads) == 2  # not kept for ever


def test_whole_models_in_other_names(tmp_path):
    """Mmseg's hosted ConvNeXt segmentors have mmpretrain's names in their backbone."""
    trained, model = Net(), Net()
    names = {'dwconv': 'depthwise_conv', 'pwconv1': 'pointwise_conv1', 'pwconv2': 'pointwise_conv2'}
    theirs = {
        '.'.join(names.get(part, part) for part in name.split('.')): value
        for name, value in trained.state_dict().items()
    }
    assert 'backbone.stages.0.0.depthwise_conv.weight' in theirs
    torch.save(dict(state_dict=theirs), tmp_path / 'c.pth')
    require_fit(model, str(tmp_path / 'c.pth'))
    assert all(
        torch.equal(value, trained.state_dict()[name]) for name, value in model.state_dict().items()
    )


def test_a_backbones_file_is_no_trained_model(tmp_path):
    """A classifier's weights start a training; they are not evaluated."""
    without = {
        name: value
        for name, value in Net().state_dict().items()
        if not name.startswith('backbone.norm')
    }
    torch.save(dict(state_dict=without), tmp_path / 'c.pth')
    with pytest.raises(
        ConfigError, match='does not fit the model.*backbone.norm0.*config that trained it'
    ):
        require_fit(Net(), str(tmp_path / 'c.pth'))


def test_resume_takes_the_last_complete_one(tmp_path, capsys):
    cfg = Config(dict(work_dir=str(tmp_path), load_from='pretrained.pth'))
    assert apis.resume_last(cfg) is None and cfg.load_from == 'pretrained.pth' and not cfg.resume
    for step in (2, 10, 9):
        torch.save({'w': torch.ones(1)}, tmp_path / f'iter_{step}.pth')
    torch.save({'w': torch.ones(1)}, tmp_path / 'best_mIoU_iter_12.pth')
    assert apis.resume_last(cfg) == str(tmp_path / 'iter_10.pth') == cfg.load_from and cfg.resume
    (tmp_path / 'iter_10.pth').write_bytes((tmp_path / 'iter_10.pth').read_bytes()[:-40])
    assert apis.resume_last(cfg) == str(tmp_path / 'iter_9.pth')
    (tmp_path / 'last_checkpoint').write_text('elsewhere/iter_2.pth')  # the folder was moved
    assert apis.resume_last(cfg) == str(tmp_path / 'iter_2.pth')
    (tmp_path / 'last_checkpoint').write_bytes(b'\xff\xfe\0')  # a power cut
    (tmp_path / 'iter_11.pth').write_bytes(b'\0\0\2\0\0\0\0\0{"a":' + b'[' * 200000)
    assert apis.resume_last(cfg) == str(tmp_path / 'iter_9.pth')


@pytest.mark.parametrize(
    ('hook', 'expected'),
    [
        (
            dict(type='CheckpointHook', interval=7),
            dict(type='convnext_dense.CheckpointHook', interval=7),
        ),
        (dict(interval=7), dict(type='convnext_dense.CheckpointHook', interval=7)),
        (dict(type='mine.Hook'), dict(type='mine.Hook')),
        (None, None),
    ],
)
def test_keep_checkpoints_safe(hook, expected):
    cfg = Config(dict(default_hooks=dict(checkpoint=hook)))
    apis.keep_checkpoints_safe(cfg)
    assert cfg.default_hooks.checkpoint == expected
    bare = Config({})
    apis.keep_checkpoints_safe(bare)
    assert bare.default_hooks.checkpoint.type == 'convnext_dense.CheckpointHook'


def test_load_from_takes_any_layout_and_keeps_a_head_of_other_classes(tmp_path):
    given = Net()
    given.decode_head = torch.nn.Linear(8, 5)
    given.decode_head.conv_seg = torch.nn.Conv2d(8, 5, 1)
    torch.save(convert_state_dict(given.state_dict(), to='mmpretrain_dense'), tmp_path / 'c.pth')
    model = Net()
    model.decode_head = torch.nn.Linear(8, 5)
    model.decode_head.conv_seg = torch.nn.Conv2d(8, 3, 1)
    before = model.decode_head.conv_seg.weight.clone()
    apis.prepare_load_from(model, str(tmp_path / 'c.pth'))
    load_checkpoint(model, str(tmp_path / 'c.pth'), map_location='cpu')
    for name, value in given.state_dict().items():
        if 'conv_seg' not in name:
            assert torch.equal(model.state_dict()[name], value), name
    assert torch.equal(model.decode_head.conv_seg.weight, before)


def test_load_from_that_does_not_fit_is_refused(tmp_path):
    state_dict = Net().state_dict()
    del state_dict['backbone.stages.2.0.pwconv1.bias']
    torch.save(state_dict, tmp_path / 'c.pth')
    with pytest.raises(
        ConfigError, match=r'(?s)missing.*stages\.2\.0\.pwconv1\.bias.*Take load_from out'
    ):
        apis.prepare_load_from(Net(), str(tmp_path / 'c.pth'))


def test_load_from_of_a_model_without_our_backbone_is_left_to_mmengine(tmp_path):
    torch.save(dict(weight=torch.ones(1, 1)), tmp_path / 'c.pth')
    apis.prepare_load_from(torch.nn.Linear(1, 1), str(tmp_path / 'c.pth'))
    assert module._prepared == {}
