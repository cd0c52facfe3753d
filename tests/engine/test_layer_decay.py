"""The groups of the optimizer: against the authors' groups, and what the settings change."""

import json
import logging
import re
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.optim import AmpOptimWrapper
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from convnext_dense.engine import LayerDecayOptimWrapperConstructor
from convnext_dense.models import ConvNeXt

GOLDEN = json.loads((Path(__file__).parents[1] / 'golden' / 'lr_groups.json').read_text())


class Segmentor(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.decode_head = nn.Sequential(nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2))


@pytest.fixture
def logged():
    """The records that the current logger writes during the test."""
    records = []
    handler = logging.Handler(logging.INFO)
    handler.emit = records.append
    logger = MMLogger.get_current_instance()
    logger.handlers.append(handler)
    yield records
    logger.handlers.remove(handler)


@pytest.mark.parametrize('case', GOLDEN)
def test_equals_the_authors_groups(case, make_constructor, get_settings):
    arch, *decay_type, decay_rate, num_layers = case.split('_')
    with torch.device('meta'):
        model = Segmentor(ConvNeXt(arch))
    for given in (dict(num_layers=int(num_layers)), dict()):
        constructor = make_constructor(
            decay_rate=float(decay_rate), decay_type='_'.join(decay_type), **given
        )
        settings = get_settings(constructor(model))
        assert settings.keys() == GOLDEN[case].keys()
        for name, group in GOLDEN[case].items():
            expected = (group['lr'], group['lr_scale'], group['weight_decay'])
            assert settings[name] == pytest.approx(expected, rel=1e-12), name


@pytest.mark.parametrize(
    'decay_type, num_groups', [('layer_wise', 16), ('stage_wise', 12), ('block_wise', 38)]
)
def test_groups_are_merged(decay_type, num_groups, make_backbone, make_constructor):
    """Each layer in use has two groups, with and without weight decay."""
    model = Segmentor(make_backbone())
    groups = make_constructor(decay_rate=0.9, decay_type=decay_type)(model).optimizer.param_groups
    assert len(groups) == num_groups
    keys = {(group['layer_id'], group['lr_scale'], group['weight_decay']) for group in groups}
    assert len(keys) == num_groups


def test_contents_of_groups(make_backbone, make_constructor):
    model = Segmentor(make_backbone())
    params = dict(model.named_parameters())
    grouped = []
    for group in make_constructor(decay_rate=0.9)(model).optimizer.param_groups:
        grouped += group['param_names']
        assert group['lr'] == pytest.approx(1e-4 * group['lr_scale'])
        decay = 'decay' if group['weight_decay'] else 'no_decay'
        assert group['group_name'] == f'layer_{group["layer_id"]}_{decay}'
        for name, param in zip(group['param_names'], group['params'], strict=True):
            assert params[name] is param
    assert sorted(grouped) == sorted(params)


def test_registered_for_every_scope():
    found = OPTIM_WRAPPER_CONSTRUCTORS.get('convnext_dense.LayerDecayOptimWrapperConstructor')
    assert found is LayerDecayOptimWrapperConstructor


@pytest.mark.parametrize('variant', [dict(), dict(use_grn=True)], ids=['v1', 'v2'])
def test_no_weight_decay_on_small_parameters(
    variant, make_backbone, make_constructor, get_settings
):
    backbone = make_backbone((1, 1, 3, 1), **variant)
    if variant:  # as the authors store them
        grn = backbone.stages[0][0].grn
        for name, param in list(grn.named_parameters()):
            setattr(grn, name, nn.Parameter(param.detach().reshape(1, 1, 1, -1)))
    model = Segmentor(backbone)
    model.logit_scale = nn.Parameter(torch.tensor(1.0))
    model.decode_head.gamma = nn.Parameter(torch.ones(2, 2))
    model.decode_head.bias = nn.Parameter(torch.ones(2, 1))
    settings = get_settings(make_constructor(decay_rate=0.9)(model))
    without = {name for name, (_, _, weight_decay) in settings.items() if weight_decay == 0}
    assert without == {
        name
        for name, param in model.named_parameters()
        if param.ndim < 2 or name.endswith('.bias') or '.grn.' in name
    }
    assert 'decode_head.gamma' not in without
    assert any('.grn.' in name for name in without) == bool(variant)


def make_ddp(model):
    torch.distributed.init_process_group(
        'gloo', store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    return nn.parallel.DistributedDataParallel(model)


@pytest.fixture
def no_process_group():
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def compile_backbone(model):
    model.backbone = torch.compile(model.backbone)
    return model


def wrap_child(model):
    model.backbone = nn.DataParallel(model.backbone)
    return model


def checkpoint_stages(model):
    model.backbone.stages[2] = checkpoint_wrapper(model.backbone.stages[2])
    model.backbone.stages[0][1] = checkpoint_wrapper(model.backbone.stages[0][1])
    return model


@pytest.mark.parametrize(
    'wrap',
    [
        make_ddp,
        torch.compile,
        compile_backbone,
        checkpoint_stages,
        nn.DataParallel,
        wrap_child,
        lambda model: torch.compile(make_ddp(checkpoint_stages(model))),
    ],
)
def test_wrappers_change_nothing(
    wrap, make_backbone, make_constructor, get_settings, no_process_group
):
    constructor = make_constructor(
        decay_rate=0.9, custom_keys={'backbone.stages.0.1': dict(lr_mult=2.0)}
    )
    expected = get_settings(constructor(Segmentor(make_backbone())))
    assert get_settings(constructor(wrap(Segmentor(make_backbone())))) == expected
    assert expected['backbone.stages.0.1.gamma'][1] == pytest.approx(2 * 0.9**6)


def test_backbone_anywhere(make_backbone, make_constructor, get_settings):
    constructor = make_constructor(decay_rate=0.8)
    alone = get_settings(constructor(make_backbone()))
    model = nn.ModuleDict(dict(a=nn.ModuleList([make_backbone()])))
    inside = get_settings(constructor(model))
    assert inside == {f'a.0.{name}': setting for name, setting in alone.items()}


def test_two_backbones_of_different_depths(make_backbone, make_constructor, get_settings):
    model = nn.ModuleDict(
        dict(student=make_backbone((1, 1, 3, 1)), teacher=make_backbone(), head=nn.Linear(2, 2))
    )
    settings = get_settings(make_constructor(decay_rate=0.5)(model))
    assert settings['student.downsample_layers.0.0.weight'][1] == 0.5**5
    assert settings['teacher.downsample_layers.0.0.weight'][1] == 0.5**7
    assert {
        settings[name][1] for name in ('head.weight', 'student.norm0.weight', 'teacher.norm3.bias')
    } == {1.0}
    with pytest.raises(ValueError, match=r'num_layers=6 contradicts.*\(1, 1, 3, 1\).*num_layers=4'):
        make_constructor(decay_rate=0.5, num_layers=6)(model)


def test_backbones_of_other_libraries(make_constructor, get_settings):
    """mmpretrain's: depths in a list, other names inside a block."""

    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.depths = [1, 1, 4, 1]
            self.downsample_layers = nn.ModuleList(nn.Conv2d(1, 1, 1) for _ in range(4))
            self.stages = nn.ModuleList(
                nn.Sequential(
                    *(nn.ModuleDict(dict(depthwise_conv=nn.Conv2d(1, 1, 1))) for _ in range(depth))
                )
                for depth in self.depths
            )

    settings = get_settings(make_constructor(decay_rate=0.5)(Other()))
    assert settings['stages.2.3.depthwise_conv.weight'] == pytest.approx(
        (1e-4 * 0.5**2, 0.5**2, 0.05)
    )


def test_fewer_stages_than_depths(make_backbone, make_constructor, get_settings):
    """Stages that are not built still count, so the others keep their rates."""
    constructor = make_constructor(decay_rate=0.9)
    whole = get_settings(constructor(Segmentor(make_backbone())))
    part = get_settings(constructor(Segmentor(make_backbone(out_indices=(0, 1)))))
    assert part.items() <= whole.items()
    not_built = ('stages.2.', 'stages.3.', 'layers.2.', 'layers.3.', 'norm2', 'norm3')
    assert part.keys() == {name for name in whole if not any(key in name for key in not_built)}


def test_frozen_parameters_are_left_out(make_backbone, make_constructor, get_settings, logged):
    model = Segmentor(make_backbone(frozen_stages=2))
    settings = get_settings(make_constructor(decay_rate=0.9)(model))
    assert settings.keys() == {
        name for name, param in model.named_parameters() if param.requires_grad
    }
    assert not any(
        name.startswith(('backbone.stages.0', 'backbone.downsample_layers.1')) for name in settings
    )
    num_frozen = sum(not param.requires_grad for param in model.parameters())
    assert f'{num_frozen} frozen ones in none' in logged[-1].getMessage()


def test_model_without_trainable_parameters_raises(make_backbone, make_constructor):
    model = make_backbone().requires_grad_(False)
    with pytest.raises(ValueError, match=r'nothing to train: all .* frozen'):
        make_constructor(decay_rate=0.9)(model)


def test_shared_parameters_count_once(make_backbone, make_constructor, get_settings):
    """A parameter that the backbone shares has the backbone's rate, wherever it comes first."""

    class Shared(nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.alias = backbone.downsample_layers[0]
            self.backbone = self.again = backbone
            self.tied = nn.Linear(4, 4)
            self.tied.weight = backbone.stages[0][0].pwconv2.weight

    model = Shared(make_backbone())
    settings = get_settings(make_constructor(decay_rate=0.5)(model))
    assert settings.keys() == {name for name, _ in model.named_parameters()}
    assert settings['alias.0.weight'][1] == 0.5**7 and 'tied.weight' not in settings


def test_custom_keys(make_backbone, make_constructor, get_settings):
    keys = {
        'backbone': dict(lr_mult=0.1, decay_mult=2.0),
        'backbone.stages.3': dict(decay_mult=0.5),
        'decode_head': dict(lr_mult=10.0),
        'dwconv': dict(decay_mult=0.0),
        'stages.2.8': dict(lr_mult=0.0),
    }
    model = Segmentor(make_backbone())
    constructor = make_constructor(decay_rate=0.5, custom_keys=keys)
    settings = get_settings(constructor(model))
    expect = {
        'backbone.downsample_layers.0.0.weight': (0.5**7 * 0.1, 0.05 * 2),
        'backbone.downsample_layers.0.0.bias': (0.5**7 * 0.1, 0.0),  # no decay stays no decay
        # 'backbone' is longer than 'dwconv'.
        'backbone.stages.0.0.dwconv.weight': (0.5**6 * 0.1, 0.05 * 2),
        'backbone.stages.2.8.pwconv1.weight': (0.0, 0.05),
        'backbone.stages.3.0.pwconv1.weight': (0.5, 0.05 * 0.5),
        'backbone.norm0.weight': (0.1, 0.0),
        'decode_head.0.weight': (10.0, 0.05),
        'decode_head.0.bias': (10.0, 0.0),
    }
    for name, (scale, weight_decay) in expect.items():
        assert settings[name] == pytest.approx((1e-4 * scale, scale, weight_decay)), name
    names = [group['group_name'] for group in constructor(model).optimizer.param_groups]
    assert len(set(names)) == len(names)


def test_custom_key_that_matches_nothing_warns(make_backbone, make_constructor, logged):
    make_constructor(decay_rate=0.5, custom_keys={'bakbone': dict(lr_mult=0.1)})(make_backbone())
    levels = [record.levelname for record in logged if 'bakbone' in record.getMessage()]
    assert levels == ['WARNING']


def test_of_keys_of_equal_length_the_first_of_the_alphabet_wins(
    make_backbone, make_constructor, get_settings
):
    # Both are part of 'norm1.weight'.
    keys = {'norm1': dict(lr_mult=3.0), 'eight': dict(lr_mult=5.0)}
    settings = get_settings(make_constructor(decay_rate=1.0, custom_keys=keys)(make_backbone()))
    assert settings['norm1.weight'][1] == 5.0 and settings['norm1.bias'][1] == 3.0


def test_default_weight_decay_is_the_optimizers(make_backbone, get_settings):
    cfg = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-4))
    constructor = LayerDecayOptimWrapperConstructor(cfg, dict(decay_rate=0.9))
    groups = constructor(make_backbone()).optimizer.param_groups
    assert {group['weight_decay'] for group in groups} == {0.0, 0.01}


def test_without_weight_decay_a_layer_is_one_group(make_backbone, make_constructor):
    constructor = make_constructor(optimizer=dict(weight_decay=0.0), decay_rate=0.9)
    groups = constructor(make_backbone()).optimizer.param_groups
    assert [group['group_name'] for group in groups] == [f'layer_{i}_no_decay' for i in range(8)]


@pytest.mark.parametrize('fast', ['fused', 'foreach'])
def test_fused_and_foreach_step(fast, make_backbone, make_constructor):
    """Fused and foreach optimizers accept the groups and give the same step."""
    first = Segmentor(make_backbone((1, 1, 3, 1)))
    second = Segmentor(make_backbone((1, 1, 3, 1)))
    second.load_state_dict(first.state_dict())
    for model, options in ((first, {fast: True}), (second, dict(foreach=False))):
        constructor = make_constructor(optimizer=dict(options, lr=0.1), decay_rate=0.5)
        optimizer = constructor(model).optimizer
        for param in model.parameters():
            param.grad = torch.linspace(-1, 1, param.numel()).reshape(param.shape)
        stem = model.backbone.downsample_layers[0][0].weight
        before = stem.detach().clone()
        optimizer.step()
        assert not torch.equal(before, stem)
    for param, other in zip(first.parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(param, other)


def test_wrapper_options_pass_through(make_backbone, make_constructor, monkeypatch):
    """Everything except ``optimizer`` goes to the wrapper."""
    # The wrapper for mixed precision looks for an accelerator.
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', lambda **kwargs: kwargs)
    options = dict(
        type='AmpOptimWrapper',
        loss_scale=128.0,
        dtype='bfloat16',
        accumulative_counts=4,
        clip_grad=dict(max_norm=1.0),
    )
    optimizer = dict(betas=(0.8, 0.9))
    constructor = make_constructor(wrapper=options, optimizer=optimizer, decay_rate=0.9)
    optim_wrapper = constructor(make_backbone())
    assert isinstance(optim_wrapper, AmpOptimWrapper)
    assert optim_wrapper.loss_scaler['init_scale'] == 128.0
    assert optim_wrapper._accumulative_counts == 4
    assert optim_wrapper.clip_grad_kwargs == dict(max_norm=1.0)
    assert optim_wrapper.cast_dtype == torch.bfloat16
    assert {group['betas'] for group in optim_wrapper.optimizer.param_groups} == {(0.8, 0.9)}


def test_optimizer_state_loads_again(make_backbone, make_constructor):
    saved = make_constructor(decay_rate=0.9, optimizer=dict(lr=1))(make_backbone()).optimizer
    loaded = make_constructor(decay_rate=0.9, optimizer=dict(lr=2))(make_backbone()).optimizer
    loaded.load_state_dict(saved.state_dict())
    rates = [group['lr'] for group in loaded.param_groups]
    assert rates == [group['lr'] for group in saved.param_groups]


@pytest.mark.parametrize(
    'paramwise_cfg, message',
    [
        (dict(), r'must hold decay_rate, a number in \(0, 1\].*got None'),
        (dict(decay_rate=0.0), 'got 0.0'),
        (dict(decay_rate=1.1), 'got 1.1'),
        (dict(decay_rate='0.9'), "got '0.9'"),
        (dict(decay_rate=True), 'got True'),
        (dict(decay_rate=float('nan')), 'got nan'),
        (
            dict(decay_rate=0.9, decay_type='layers'),
            "'layer_wise', 'stage_wise', 'block_wise'; got 'layers'",
        ),
        (dict(decay_rate=0.9, norm_decay_mult=0.1), 'norm_decay_mult=0.1.*only norm_decay_mult=0'),
        (dict(decay_rate=0.9, bias_lr_mult=2.0), 'bias_lr_mult is not supported.*custom_keys'),
        (
            dict(decay_rate=0.9, dwconv_decay_mult=0.0),
            'dwconv_decay_mult is not supported.*custom_keys',
        ),
        (
            dict(decay_rate=0.9, dcn_offset_lr_mult=0.1),
            'dcn_offset_lr_mult is not supported.*custom_keys',
        ),
        (dict(decay_rate=0.9, bypass_duplicate=False), 'bypass_duplicate=False'),
        (
            dict(decay_rate=0.9, layer_decay=0.9),
            "unknown key in paramwise_cfg: 'layer_decay'. Known: decay_rate",
        ),
        (
            dict(decay_rate=0.9, custom_keys={'head': dict(lr=1.0)}),
            r"custom_keys\['head'\] may hold.*got lr=1.0",
        ),
        (dict(decay_rate=0.9, custom_keys={'head': dict(lr_mult=-1)}), 'lr_mult=-1'),
    ],
)
def test_bad_paramwise_cfg(paramwise_cfg, message, make_constructor):
    with pytest.raises(ValueError, match=message):
        make_constructor(**paramwise_cfg)


def test_settings_that_state_what_is_done_anyway_change_nothing(
    make_backbone, make_constructor, get_settings
):
    expected = get_settings(make_constructor(decay_rate=0.9)(make_backbone()))
    constructor = make_constructor(
        decay_rate=0.9,
        norm_decay_mult=0.0,
        bias_decay_mult=0,
        flat_decay_mult=0.0,
        bypass_duplicate=True,
    )
    assert get_settings(constructor(make_backbone())) == expected


OPTIMIZER = dict(type='AdamW', lr=1e-4)


@pytest.mark.parametrize(
    'paramwise_cfg',
    [
        [0.9],
        dict(decay_rate=0.9, custom_keys=['head']),
        dict(decay_rate=0.9, custom_keys=dict(head=2.0)),
    ],
)
def test_wrong_types(paramwise_cfg):
    with pytest.raises(TypeError, match='must be a dict'):
        LayerDecayOptimWrapperConstructor(dict(optimizer=OPTIMIZER), paramwise_cfg)


@pytest.mark.parametrize(
    'optimizer, paramwise_cfg, message',
    [
        (OPTIMIZER, None, 'must hold decay_rate'),
        (dict(type='AdamW'), dict(decay_rate=0.9), r'state optimizer=.*lr='),
        (
            OPTIMIZER,
            dict(decay_rate=0.9, custom_keys={'head': dict(decay_mult=0.0)}),
            r'decay_mult, so state .*weight_decay=',
        ),
    ],
)
def test_missing_base_values(optimizer, paramwise_cfg, message):
    with pytest.raises(ValueError, match=message):
        LayerDecayOptimWrapperConstructor(dict(optimizer=optimizer), paramwise_cfg)


def test_no_backbone_says_what_was_looked_for(make_constructor):
    message = r'looked for .*downsample_layers and stages.*Sequential \(0, 1\)'
    with pytest.raises(ValueError, match=message):
        make_constructor(decay_rate=0.9)(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))


def test_parameter_in_no_group_is_an_error(make_backbone, make_constructor):
    # mmengine takes a model with a child named 'module' for a wrapper.
    model = nn.ModuleDict(dict(module=make_backbone(), head=nn.Linear(2, 2)))
    message = r'2 trainable parameters are in no group.*head\.weight, head\.bias'
    with pytest.raises(RuntimeError, match=message):
        make_constructor(decay_rate=0.9)(model)


@pytest.fixture
def table_lines(make_backbone, make_constructor, logged):
    make_constructor(decay_rate=0.9, decay_type='layer_wise')(Segmentor(make_backbone()))
    (record,) = logged
    return record.getMessage().splitlines()


def test_lines_around_the_table(table_lines):
    assert table_lines[0] == (
        'learning-rate decay layer_wise, decay_rate 0.9, num_layers 6 for depths (3, 3, 9, 3)'
    )
    assert table_lines[-1] == '190 parameter tensors in 16 groups; 0 frozen ones in none'


def test_rows_of_the_table(table_lines):
    rows = [re.split(r' {2,}', line.strip()) for line in table_lines[1:-1]]
    assert rows[0] == ['id', 'contains', 'parameters', 'lr', 'weight decay']
    # The weight of the stem's convolution; its bias and the norm hold 4 + 4 + 4 more.
    stem = 3 * 4 * 4 * 4
    assert rows[1] == ['0', 'stem', f'{stem + 12}', '4.783e-05', '0.05 (0 on 12)']
    assert [row[1] for row in rows[2:]] == [
        'stages.0 blocks 0-2',
        'downsample_layers.1, stages.1 blocks 0-2',
        'downsample_layers.2, stages.2 blocks 0-2',
        'stages.2 blocks 3-5',
        'stages.2 blocks 6-8',
        'downsample_layers.3, stages.3 blocks 0-2',
        'decode_head, norm0, norm1, norm2, norm3',
    ]
    assert rows[8][3] == '1.000e-04'


def test_columns_of_the_table_are_aligned(table_lines):
    assert max(map(len, table_lines)) <= 120
    assert len({line.index('e-0') for line in table_lines[2:-1]}) == 1
