"""Wrappers around weights, and which weights are taken where a file has two sets."""

import copy
from types import SimpleNamespace

import pytest
import timm.models
import torch
from mmengine.hooks import EMAHook
from mmengine.model import ExponentialMovingAverage
from torch import nn

from convnext_dense.checkpoints import strip_wrapping, unwrap

PLAIN, AVERAGE = {'a.weight': torch.zeros(1)}, {'a.weight': torch.ones(1)}


def taken(content, ema=None):
    return unwrap(content, ema).state_dict['a.weight'].item()


@pytest.mark.parametrize(
    'content, opened',
    [
        (PLAIN, ()),
        ({'model': PLAIN, 'optimizer': {'x': torch.ones(2)}, 'epoch': 3}, ('model',)),
        ({'state_dict': PLAIN, 'meta': {}}, ('state_dict',)),
        ({'module': PLAIN}, ('module',)),
        ({'teacher': PLAIN}, ('teacher',)),
        ({'state_dict': {'model': {'module': PLAIN}}}, ('state_dict', 'model', 'module')),
        ({'model_ema': PLAIN}, ('model_ema',)),
        ({'state_dict_ema': PLAIN}, ('state_dict_ema',)),
        ({'epoch': torch.tensor(3), 'model': PLAIN}, ('model',)),
    ],
)
def test_wrappers_are_opened(content, opened):
    weights = unwrap(content)
    assert weights.opened == opened and weights.state_dict.keys() == PLAIN.keys()


@pytest.mark.parametrize(
    'content, default',
    [
        ({'state_dict': PLAIN, 'state_dict_ema': AVERAGE}, 1),  # timm's training
        ({'model': PLAIN, 'model_ema': AVERAGE}, 0),  # the authors' and torchvision's
        ({'student': PLAIN, 'teacher': AVERAGE}, 1),  # DINO's
        ({'model': {'state_dict': PLAIN, 'state_dict_ema': AVERAGE}}, 1),
    ],
)
def test_choice_of_averaged_weights(content, default):
    assert taken(content) == default
    assert taken(content, ema=True) == 1 and taken(content, ema=False) == 0


@pytest.mark.parametrize(
    'content, ema, message',
    [
        ({'model': PLAIN}, True, r'averaged \(EMA\) weights.*holds model\. Ask for the plain'),
        ({'model_ema': PLAIN}, False, r'plain weights.*holds model_ema\. Ask for the averaged'),
        (PLAIN, True, r"averaged.*holds a dict with keys \['a.weight'\]"),
    ],
)
def test_weights_that_are_not_there_are_an_error(content, ema, message):
    with pytest.raises(ValueError, match=message):
        unwrap(content, ema)


@pytest.mark.parametrize(
    'content, message',
    [
        ({}, 'no weights'),
        ([1], 'a list'),
        ({'epoch': 3}, r"keys \['epoch'\]"),
        ({'model': {'x': 3}}, 'got model'),
        (torch.ones(1), 'a Tensor'),
        (None, 'a NoneType'),
    ],
)
def test_no_weights_is_an_error(content, message):
    with pytest.raises(ValueError, match=message):
        unwrap(content)


def test_a_dict_that_holds_itself_ends():
    content = {'epoch': 3}
    content['model'] = {'state_dict': content}
    with pytest.raises(ValueError, match='no weights'):
        unwrap(content)


@pytest.mark.parametrize(
    'tensor', [torch.ones(2, device='meta'), torch.ones(2).to_sparse()], ids=['meta', 'sparse']
)
def test_tensors_without_plain_numbers_are_refused(tensor):
    with pytest.raises(ValueError, match='expected dense tensors that hold numbers; a.bias'):
        unwrap({'model': PLAIN | {'a.bias': tensor}})


def test_other_names_than_text_beside_mmengines_average():
    plain = {'steps': torch.tensor(1), 5: 1, 'module.a.weight': torch.zeros(1)}
    assert unwrap({'state_dict': AVERAGE, 'ema_state_dict': plain}, ema=False).state_dict == {
        'a.weight': 0
    }


def test_mmengine_saves_the_average_as_state_dict():
    """Through mmengine's own hook: what it writes as `ema_state_dict` are the plain weights."""
    model = nn.Sequential()
    model.add_module('a', nn.Linear(1, 1, bias=False))
    hook = EMAHook()
    hook.src_model, hook.ema_model = model, ExponentialMovingAverage(model)
    model.a.weight.data.fill_(0)
    hook.ema_model.module.a.weight.data.fill_(1)
    checkpoint = {'state_dict': copy.deepcopy(model.state_dict()), 'meta': {}}
    hook.before_save_checkpoint(SimpleNamespace(), checkpoint)
    assert (
        taken(checkpoint) == 1
        and taken(checkpoint, ema=True) == 1
        and taken(checkpoint, ema=False) == 0
    )
    assert unwrap(checkpoint, ema=False).where == ', under ema_state_dict (plain weights)'
    assert unwrap(checkpoint).where == ', under state_dict (averaged weights)'
    assert unwrap(checkpoint, ema=False).state_dict.keys() == PLAIN.keys()


@pytest.mark.parametrize('ema', [None, True, False])
def test_as_timm_reads_its_own_files(tmp_path, ema):
    torch.save(
        {'state_dict': PLAIN, 'state_dict_ema': AVERAGE, 'epoch': 1}, tmp_path / 'last.pth.tar'
    )
    theirs = timm.models.load_state_dict(
        str(tmp_path / 'last.pth.tar'), **({} if ema is None else {'use_ema': ema})
    )
    assert taken(torch.load(tmp_path / 'last.pth.tar'), ema) == theirs['a.weight'].item()


def test_counters_of_averaging_are_no_weights():
    model = nn.Sequential()
    model.add_module('a', nn.Linear(1, 1))
    averaged = torch.optim.swa_utils.AveragedModel(model).state_dict()
    assert {'n_averaged', 'module.a.weight'} <= averaged.keys()
    weights = unwrap({'model': model.state_dict(), 'model_ema': averaged}, ema=True)
    assert weights.state_dict.keys() == {'a.weight', 'a.bias'}


def test_prefixes_of_wrappers_are_taken_off_wherever_they_stand():
    raw = {
        '_fsdp_wrapped_module.stages.0._fsdp_wrapped_module._checkpoint_wrapped_module.gamma': 1,
        'mymodule.x': 2,
        'backbone.module.x': 3,
        '_orig_mod.module.y': 4,
        'module._orig_mod.module.z': 5,
        'module': 6,
    }
    assert strip_wrapping(raw) == {
        'stages.0.gamma': 1,
        'mymodule.x': 2,
        'backbone.x': 3,
        'y': 4,
        'z': 5,
        'module': 6,
    }


def test_two_models_in_one_are_an_error():
    with pytest.raises(ValueError, match='module.a is a without its wrapper'):
        strip_wrapping({'a': 1, 'module.a': 2})
