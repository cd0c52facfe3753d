"""Strict loading: what is loaded, dropped, refused; and what the report says."""

import importlib
import logging

import pytest
import torch
from torch import nn

from convnext_dense.checkpoints import load as load_module
from convnext_dense.checkpoints import load_pretrained, load_trunk, load_weights
from convnext_dense.errors import CheckpointError
from convnext_dense.models import ConvNeXt, ConvNeXtClassifier

DIMS = (8, 16, 24, 32)
SMALL = dict(depths=(1, 1, 2, 1), dims=DIMS)
SMALL_V2 = dict(SMALL, use_grn=True)
TEST_CONVNEXT = dict(depths=(1, 2, 4, 2), dims=(24, 32, 48, 64))  # timm's test_convnext
NORMS = [f'norm{i}.{leaf}' for i in range(4) for leaf in ('weight', 'bias')]


def random_weights(module):
    return {name: torch.randn_like(value) for name, value in module.state_dict().items()}


def trunk_weights(arch=SMALL):
    """A trunk of random numbers, in the authors' names."""
    return {
        name: value
        for name, value in random_weights(ConvNeXt(arch)).items()
        if not name.startswith('norm')
    }


def final(name='norm', head='head', classes=5):
    weights = {f'{name}.weight': torch.randn(32), f'{name}.bias': torch.randn(32)}
    if head:
        weights |= {
            f'{head}.weight': torch.randn(classes, 32),
            f'{head}.bias': torch.randn(classes),
        }
    return weights


def load(content, module=None, *, folder, **options):
    torch.save(content, folder / 'c.pth')
    module = ConvNeXt(SMALL) if module is None else module
    return module, load_pretrained(
        module, dict(type='Pretrained', checkpoint=str(folder / 'c.pth'), **options)
    )


def same(module, weights, prefix=''):
    own = module.state_dict()
    return all(
        torch.equal(own[name], value.reshape(own[name].shape)) for name, value in weights.items()
    )


@pytest.mark.parametrize('arch', [SMALL, SMALL_V2], ids=['v1', 'v2'])
def test_a_classifier_gives_a_backbone_its_trunk(tmp_path, arch):
    trunk = trunk_weights(arch)
    backbone, report = load(dict(model=trunk | final()), ConvNeXt(arch), folder=tmp_path)
    assert same(backbone, trunk) and set(report.loaded) == set(trunk)
    assert backbone.norm3.weight.eq(1).all() and backbone.norm3.bias.eq(0).all()
    assert list(report.fresh) == NORMS and set(report.fresh.values()) == {'not in the file'}
    assert {key: reason[:8] for key, reason in report.dropped.items()} == {
        'norm.weight': 'trained ',
        'norm.bias': 'trained ',
        'head.weight': 'of the c',
        'head.bias': 'of the c',
    }
    assert report.complete and not report.unexpected and not report.reshaped and not report.notes
    assert 'layout facebook, under model, (1, 1, 2, 1), (8, 16, 24, 32)' in str(report)


def test_a_classifier_gives_a_classifier_everything(tmp_path):
    content = trunk_weights() | final()
    classifier, report = load(content, ConvNeXtClassifier(SMALL, num_classes=5), folder=tmp_path)
    assert same(classifier, content) and not report.fresh and not report.dropped


def test_a_head_of_another_size_stays_as_initialized_and_the_report_says_so(tmp_path):
    content = trunk_weights() | final(classes=7)
    classifier = ConvNeXtClassifier(SMALL, num_classes=5)
    head = classifier.head.weight.clone()
    _, report = load(content, classifier, folder=tmp_path)
    assert torch.equal(classifier.head.weight, head) and same(
        classifier, trunk_weights_of(content) | norm_of(content)
    )
    assert report.fresh == dict.fromkeys(
        ['head.weight', 'head.bias'], 'the file has 7 outputs, the model 5'
    )
    with pytest.raises(
        ValueError, match=r'Wrong shape: head.weight: file \(7, 32\), model \(5, 32\)'
    ):
        load_weights(classifier, tmp_path / 'c.pth')  # to evaluate it, nothing may stay random


def trunk_weights_of(content):
    return {
        key: value for key, value in content.items() if key.startswith(('stages', 'downsample'))
    }


def norm_of(content):
    return {key: value for key, value in content.items() if key.startswith('norm.')}


def test_a_backbone_without_a_head_starts_a_classifier(tmp_path):
    backbone = ConvNeXt(SMALL)
    classifier, report = load(
        backbone.state_dict(), ConvNeXtClassifier(SMALL, num_classes=5), folder=tmp_path
    )
    assert set(report.fresh) == {'norm.weight', 'norm.bias', 'head.weight', 'head.bias'}
    assert set(report.dropped.values()) == {'of a feature map that the model does not return'}
    with pytest.raises(ValueError, match='Missing: norm.weight, norm.bias, head.weight and 1 more'):
        load_weights(classifier, tmp_path / 'c.pth')


@pytest.mark.parametrize(('asked', 'kept'), [(None, False), (False, False), (True, True)])
@pytest.mark.parametrize('names', ['facebook', 'mmpretrain'])
def test_a_norm_that_saw_pooled_vectors_is_dropped_unless_asked_for(tmp_path, names, asked, kept):
    content = trunk_weights() | final()
    norm = content['norm.weight']
    if names == 'mmpretrain':  # its classifiers call that norm norm3, as a dense backbone its last
        content = mmpretrain_names(trunk_weights_of(content)) | {
            'backbone.norm3.weight': norm,
            'backbone.norm3.bias': content['norm.bias'],
            'head.fc.weight': torch.ones(5, 32),
        }
    backbone, report = load(content, folder=tmp_path, keep_norm=asked)
    assert torch.equal(backbone.norm3.weight, norm if kept else torch.ones(32))
    assert ('norm3.weight' in report.loaded) == kept and backbone.norm2.weight.eq(1).all()
    assert any('keep_norm=True' in reason for reason in report.dropped.values()) != kept


def mmpretrain_names(trunk):
    renames = dict(dwconv='depthwise_conv', pwconv1='pointwise_conv1', pwconv2='pointwise_conv2')
    return {
        '.'.join(['backbone', *(renames.get(part, part) for part in key.split('.'))]): value
        for key, value in trunk.items()
    }


@pytest.mark.parametrize(
    'head', [{}, {'decode_head.conv_seg.weight': torch.ones(2, 2)}], ids=['alone', 'segmentor']
)
def test_norms_of_all_stages_are_dense_and_loaded(tmp_path, head):
    content = random_weights(ConvNeXt(SMALL))
    backbone, report = load(mmpretrain_names(content) | head, folder=tmp_path)
    assert same(backbone, content) and not report.fresh and set(report.dropped) == set(head)


@pytest.mark.parametrize(('asked', 'kept'), [(None, True), (True, True), (False, False)])
def test_dinov3_has_its_norm_on_the_last_map(tmp_path, asked, kept):
    norm = final(head=None)
    content = (
        trunk_weights()
        | norm
        | {f'norms.3.{leaf}': norm[f'norm.{leaf}'] for leaf in ('weight', 'bias')}
    )
    backbone, report = load(content, folder=tmp_path, keep_norm=asked)
    assert torch.equal(backbone.norm3.weight, norm['norm.weight'] if kept else torch.ones(32))
    assert list(report.fresh) == (NORMS[:6] if kept else NORMS) and bool(report.dropped) != kept


def test_timms_dinov3_cannot_be_told_from_its_names_and_the_report_says_so(tmp_path):
    from timm.models.convnext import ConvNeXt as Timm

    dinov3 = Timm(depths=SMALL['depths'], dims=DIMS, num_classes=0)
    backbone, report = load(dinov3.state_dict(), folder=tmp_path)
    assert backbone.norm3.weight.eq(1).all() and any(
        'keep_norm=True' in note for note in report.notes
    )
    classifier = Timm(depths=SMALL['depths'], dims=DIMS, num_classes=3)
    assert not load(classifier.state_dict(), folder=tmp_path)[1].notes


def test_ema_or_plain(tmp_path):
    plain, average = trunk_weights(), trunk_weights()
    both = dict(model=plain, model_ema=average)
    assert same(load(both, folder=tmp_path)[0], plain) and same(
        load(both, folder=tmp_path, ema=False)[0], plain
    )
    backbone, report = load(both, folder=tmp_path, ema=True)
    assert same(backbone, average) and 'under model_ema' in str(report)
    with pytest.raises(ValueError, match='c.pth.*asked for the averaged'):
        load(dict(model=plain), folder=tmp_path, ema=True)


def test_prefix_chooses_one_of_two(tmp_path):
    student, teacher = trunk_weights(), trunk_weights()
    both = {f'student.{k}': v for k, v in student.items()} | {
        f'teacher.{k}': v for k, v in teacher.items()
    }
    with pytest.raises(ValueError, match='more than one ConvNeXt'):
        load(both, folder=tmp_path)
    for prefix in ('teacher', 'teacher.'):
        backbone, report = load(both, folder=tmp_path, prefix=prefix)
        assert same(backbone, teacher) and len(report.dropped) == len(student)
    with pytest.raises(
        ValueError, match="nothing under prefix='backbone.'.*it has student.downsample"
    ):
        load(both, folder=tmp_path, prefix='backbone.')


def test_stages_that_are_not_built_are_dropped(tmp_path):
    backbone, report = load(
        random_weights(ConvNeXt(SMALL)), ConvNeXt(SMALL, out_indices=(0, 2)), folder=tmp_path
    )
    assert not report.fresh and len(report.loaded) == len(backbone.state_dict())
    reason = report.dropped['stages.3.0.gamma']
    assert reason == 'of stage 3, which is not built: it is past the last of out_indices'
    assert report.dropped['norm1.weight'] == 'of a feature map that the model does not return'


def renamed(weights, old, new):
    return {name.replace(old, new): value for name, value in weights.items()}


def broken(change):
    weights = trunk_weights()
    change(weights)
    return weights


WRONG = {
    'missing': (
        broken(lambda w: w.pop('stages.2.1.pwconv1.weight')),
        {},
        r'1 of its 69 weights.*Missing: stages\.2\.1\.pwconv1\.weight\.',
    ),
    'shape': (
        broken(lambda w: w.update({'stages.1.0.pwconv1.weight': torch.ones(16, 64)})),
        {},
        r'Wrong shape: stages\.1\.0\.pwconv1\.weight: file \(16, 64\), model \(64, 16\)',
    ),
    'integers': (
        broken(lambda w: w.update({'stages.1.0.gamma': torch.ones(16, dtype=torch.int64)})),
        {},
        r'stages\.1\.0\.gamma: file torch.int64, model torch.float32',
    ),
    'complex': (
        broken(lambda w: w.update({'stages.1.0.gamma': torch.ones(16, dtype=torch.complex64)})),
        {},
        r'stages\.1\.0\.gamma: file torch.complex64',
    ),
    'nan': (
        broken(lambda w: w['stages.1.0.gamma'].fill_(float('nan'))),
        {},
        r'stages\.1\.0\.gamma not finite',
    ),
    'inf': (
        broken(lambda w: w['stages.1.0.gamma'][3].fill_(float('inf'))),
        dict(strict=False),
        'not finite',
    ),
    'too large': (
        broken(lambda w: w.update({'stages.1.0.gamma': w['stages.1.0.gamma'].double() * 1e300})),
        {},
        r'stages\.1\.0\.gamma not finite',
    ),
    'a stage more': (
        trunk_weights() | {'stages.4.0.gamma': torch.ones(8)},
        {},
        r'file alone: stages\.4\.0\.gamma',
    ),
    'renamed': (
        renamed(trunk_weights(), '2.1.gamma', '2.1.gama'),
        {},
        r'Missing: stages\.2\.1\.gamma\..*In the file alone: stages\.2\.1\.gama',
    ),
    'deeper': (
        trunk_weights(dict(depths=(1, 1, 3, 1), dims=DIMS)),
        {},
        r'The file is \(1, 1, 3, 1\), \(8, 16, 24, 32\), the model is \(1, 1, 2, 1\).*'
        r'Missing: none.*In the file alone: stages\.2\.2',
    ),
    'v2': (
        trunk_weights(SMALL_V2),
        {},
        r'Missing: stages\.0\.0\.gamma.*In the file alone: stages\.0\.0\.grn',
    ),
    'half a norm': (
        trunk_weights() | {'norm2.bias': torch.ones(24)},
        {},
        r'Missing: norm2\.weight\. ',
    ),
    'no layer scale': (
        broken(lambda w: [w.pop(k) for k in list(w) if k.endswith('gamma')]),
        {},
        'no layer scale: layer_scale_init_value=0',
    ),
    'nothing': ({'fc.weight': torch.ones(2)}, {}, "authors' names: no ConvNeXt.*fc.weight"),
    'ols': (
        {
            'stem.0.weight': torch.ones(2),
            'stem.1.weight': torch.ones(2),
            'stem.2.weight': torch.ones(2),
            'stages.0.blocks.0.conv_dw.weight': torch.ones(8, 1, 7, 7),
        },
        {},
        'overlapping stem',
    ),
    'not a checkpoint': (dict(epoch=3), {}, r"c.pth holds no weights to load.*\['epoch'\]"),
    'field': ({}, dict(file='x'), "takes checkpoint .*prefix, map_location, ema, strict.*'file'"),
    'ema': ({}, dict(ema='yes'), "ema must be one of .*'yes'"),
    'strict': ({}, dict(strict='no'), "strict must be one of .*'no'"),
    'in_channels': (
        {},
        dict(in_channels=4),
        "in_channels must be one of .*'sum', 'repeat', 'mean'.*got 4",
    ),
}


@pytest.mark.parametrize('case', WRONG)
def test_errors_name_what_is_wrong_and_change_nothing(tmp_path, case):
    content, options, message = WRONG[case]
    backbone = ConvNeXt(SMALL)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        load(content, backbone, folder=tmp_path, **options)
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


def test_layer_scale_that_the_model_lacks_is_an_error(tmp_path):
    with pytest.raises(ValueError, match='the file has layer scale: layer_scale_init_value=1.0'):
        load(trunk_weights(), ConvNeXt(SMALL, layer_scale_init_value=0.0), folder=tmp_path)


@pytest.fixture(scope='module')
def atto(tmp_path_factory):
    path = tmp_path_factory.mktemp('atto') / 'c.pth'
    torch.save(dict(model=ConvNeXt('atto').state_dict()), path)
    return path


@pytest.mark.parametrize('arch', ['femto', 'pico', 'nano', 'v2_atto', 'tiny'])
def test_an_error_says_which_arch_the_file_is(atto, arch):
    message = rf'The file is atto \(2, 2, 6, 2\), \(40, 80, 160, 320\), the model is {arch} \('
    with pytest.raises(ValueError, match=message):
        ConvNeXt(arch, init_cfg=dict(type='Pretrained', checkpoint=str(atto))).init_weights()


def test_the_whole_arch_is_named_though_stages_are_not_built(atto):
    with pytest.raises(ValueError, match='the model is femto '):
        ConvNeXt(
            'femto', out_indices=(0,), init_cfg=dict(type='Pretrained', checkpoint=str(atto))
        ).init_weights()


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'convnext_dense.models.pretrained.print_log',
        lambda text, logger=None, level=logging.INFO: lines.append((level, text)),
    )
    return lines


def test_strict_false_is_possible_and_loud(tmp_path, log):
    weights = broken(
        lambda w: (w.pop('stages.2.1.gamma'), w.update({'stages.0.0.gamma': torch.ones(9)}))
    )
    torch.save(weights, tmp_path / 'c.pth')
    backbone = ConvNeXt(
        SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'c.pth'), strict=False)
    )
    backbone.init_weights()
    assert same(backbone, {k: v for k, v in weights.items() if k != 'stages.0.0.gamma'})
    assert backbone.stages[0][0].gamma.eq(1e-6).all() and backbone.stages[2][1].gamma.eq(1e-6).all()
    (_, summary), _, (level, warning) = log
    assert level == logging.WARNING and warning.endswith(
        'stay random: stages.2.1.gamma, stages.0.0.gamma'
    )
    assert 'MISSING      stages.2.1.gamma' in summary
    assert 'WRONG SHAPE  stages.0.0.gamma (file (9,), model (8,))' in summary


def test_the_log_has_a_summary_and_at_debug_level_every_name(tmp_path, log):
    torch.save(dict(model=trunk_weights() | final()), tmp_path / 'c.pth')
    ConvNeXt(
        SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'c.pth'))
    ).init_weights()
    (level, summary), (detail_level, details) = log
    assert (level, detail_level) == (logging.INFO, logging.DEBUG)
    assert len(summary.splitlines()) == 5 and max(map(len, summary.splitlines()[1:])) < 130
    names = 'norm0.weight, norm0.bias, norm1.weight, norm1.bias'
    assert f'initialized  {names} and 4 more (not in the file)' in summary
    assert all(name in details for name in [*trunk_weights(), *NORMS])


@pytest.mark.parametrize('library', ['mmengine', 'mmdet', 'mmseg'])
def test_init_cfg_from_every_registry(tmp_path, library):
    weights = trunk_weights()
    torch.save(weights, tmp_path / 'c.pth')
    models = importlib.import_module(f'{library}.registry').MODELS
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'c.pth'))
    backbone = models.build(dict(type='convnext_dense.ConvNeXt', arch=SMALL, init_cfg=init_cfg))
    backbone.init_weights()
    assert same(backbone, weights) and backbone.is_init
    backbone.norm0.weight.data.fill_(2.0)
    backbone.init_weights()  # a second time does nothing
    assert backbone.norm0.weight.eq(2).all()


def test_a_list_is_refused():
    with pytest.raises(ValueError, match='not a list that holds it'):
        ConvNeXt(SMALL, init_cfg=[dict(type='Pretrained', checkpoint='x.pth')]).init_weights()


def test_the_file_is_read_once_and_its_tensors_are_not_copied(tmp_path, monkeypatch):
    from convnext_dense.checkpoints import Weights
    from convnext_dense.checkpoints.match import Rules

    reads, read_file = [], load_module.read_file
    monkeypatch.setattr(
        load_module, 'read_file', lambda source: reads.append(source) or read_file(source)
    )
    weights = renamed(trunk_weights(), 'dwconv', 'depthwise_conv')
    weights = renamed(
        renamed(weights, 'pwconv', 'pointwise_conv'), 'downsample_layers', 'downsample_layers'
    )
    load(weights, folder=tmp_path)
    assert len(reads) == 1
    values = load_module.match_weights(ConvNeXt(SMALL), Weights(weights), 'w', Rules()).values
    memory = {value.untyped_storage().data_ptr() for value in weights.values()}
    assert {value.untyped_storage().data_ptr() for value in values.values()} <= memory


def test_half_precision_is_widened_and_grn_reshaped(tmp_path):
    weights = {name: value.half() for name, value in trunk_weights(SMALL_V2).items()}
    weights = {
        name: value.view(1, 1, 1, -1) if '.grn.' in name else value
        for name, value in weights.items()
    }
    backbone, report = load(weights, ConvNeXt(SMALL_V2), folder=tmp_path)
    assert same(backbone, {name: value.float() for name, value in weights.items()})
    assert report.reshaped['stages.0.0.grn.gamma'] == 'from 4 axes to 1'


@pytest.mark.parametrize(
    ('arch', 'expected'),
    [
        (SMALL, 0),
        (dict(SMALL, norm_eps=1e-5), 1),
        (TEST_CONVNEXT, 1),
        (dict(TEST_CONVNEXT, norm_eps=1e-5), 0),
    ],
)
def test_another_epsilon_than_the_familys_is_noted(arch, expected):
    notes = load_trunk(ConvNeXt(arch), trunk_weights(arch)).notes
    assert len(notes) == expected and all('epsilon' in note for note in notes)


def test_xxlarge_is_known_by_its_epsilon():
    from convnext_dense.checkpoints.load import find_eps_notes
    from convnext_dense.checkpoints.trunk import Trunk

    xxlarge = Trunk((3, 4, 30, 3), (384, 768, 1536, 3072), False, True, 3)
    assert (
        'is 1e-06 in the model, 1e-05 in'
        in find_eps_notes(nn.LayerNorm(8, eps=1e-6), xxlarge, 'timm', False)[0]
    )
    assert not find_eps_notes(nn.LayerNorm(8, eps=1e-5), xxlarge, 'timm', False)
    assert (
        'epsilon 1e-12'
        in find_eps_notes(nn.LayerNorm(8, eps=1e-5), xxlarge, 'transformers', True)[0]
    )


def test_modules_without_a_convnext_are_matched_by_name(tmp_path):
    linear = nn.Linear(3, 2)
    path = tmp_path / 'c.pth'
    torch.save(
        dict(state_dict=dict(weight=torch.ones(2, 3), bias=torch.ones(2), other=torch.ones(1))),
        path,
    )
    assert load_weights(linear, path).unexpected == ('other',) and linear.weight.eq(1).all()
    torch.save(dict(weight=torch.ones(3, 2)), path)
    message = (
        r'2 of its 2 weights.*Missing: bias. Wrong shape: weight: file \(3, 2\), model \(2, 3\)'
    )
    with pytest.raises(ValueError, match=message):
        load_weights(linear, path)


def test_a_missing_grn_is_not_called_layer_scale():
    arch = SMALL | dict(use_grn=True)
    weights = random_weights(ConvNeXt(arch))
    del weights['stages.0.0.grn.gamma']
    with pytest.raises(CheckpointError) as error:
        load_trunk(ConvNeXt(arch), weights)
    assert 'stages.0.0.grn.gamma' in str(error.value)
    assert 'layer_scale_init_value' not in str(error.value)


def test_epsilons_outside_the_backbone_are_not_compared():
    class Detector(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = ConvNeXt(SMALL)
            self.neck = nn.LayerNorm(8, eps=1e-5)

    detector = Detector()
    report = load_trunk(detector, random_weights(detector))
    assert report.notes == ()


def test_a_module_takes_its_own_state_dict():
    model = ConvNeXt(SMALL)
    assert load_trunk(model, model.state_dict()).complete
