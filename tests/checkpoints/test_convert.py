"""Where in a file the trunk is found, what is refused, and what stays as it is."""

import pytest
import timm
import torch

from convnext_dense.checkpoints import convert_state_dict, detect_layout, to_facebook
from convnext_dense.checkpoints.convert import convert, from_facebook
from convnext_dense.checkpoints.layouts.upernet import SMP
from convnext_dense.checkpoints.trunk import Trunk


def own_weights(use_grn=False, norms=('norm',), head=True):
    shapes = Trunk((1, 2, 1, 1), (8, 12, 16, 20), use_grn, not use_grn, 3).shapes()
    for name in norms:
        dim = (8, 12, 16, 20)[int(name[4:] or 3)]
        shapes |= {f'{name}.weight': (dim,), f'{name}.bias': (dim,)}
    if head:
        shapes |= {'head.weight': (5, 20), 'head.bias': (5,)}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


DENSE = ('norm0', 'norm1', 'norm2', 'norm3')
HEADS = {
    'neck.lateral_convs.0.conv.weight': torch.ones(3),
    'decode_head.conv_seg.weight': torch.ones(2),
}


def behind(prefix, weights):
    return {prefix + key: value for key, value in weights.items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize('to', ['facebook', 'timm', 'torchvision', 'transformers', 'mmpretrain'])
@pytest.mark.parametrize('prefix', ['', 'module.', '_orig_mod.module.', 'model.', 'net.body.'])
def test_classifier_behind_a_prefix(to, prefix):
    weights = own_weights()
    theirs = behind(prefix, convert_state_dict(weights, to))
    assert detect_layout(theirs).layout == to
    assert_same(convert_state_dict(theirs), weights)


@pytest.mark.parametrize(
    'to, prefix',
    [
        ('facebook', 'backbone.'),
        ('mmpretrain', 'backbone.'),
        ('timm', 'backbone.timm_model.'),
        ('timm_features', 'backbone.timm_model.'),
        ('timm_features', 'encoder.model.'),
        ('transformers', 'backbone.'),
        ('transformers', 'backbone.convnext.'),
        ('facebook', 'module.backbone.'),
    ],
)
def test_in_a_whole_model_only_the_trunk_is_renamed(to, prefix):
    weights = own_weights(norms=() if to.startswith('timm') else DENSE, head=False)
    theirs = behind(prefix, convert_state_dict(weights, to)) | HEADS
    converted = to_facebook(theirs)
    assert (
        converted.own_prefix == 'backbone.' and not converted.dropped and not converted.unexpected
    )
    assert_same(converted.state_dict, behind('backbone.', weights) | HEADS)
    assert converted.source['backbone.stages.1.1.gamma'].startswith(prefix)
    if (
        prefix.removeprefix('module.') != 'backbone.convnext.'
    ):  # an older spelling, not written any more
        assert_same(
            convert_state_dict(theirs, converted.layout),
            {key.removeprefix('module.'): value for key, value in theirs.items()},
        )


@pytest.mark.parametrize(
    'to', ['timm', 'timm_features', 'torchvision', 'mmpretrain', 'transformers']
)
def test_whole_model_out_keeps_its_heads(to):
    weights = behind('backbone.', own_weights(norms=DENSE, head=False)) | HEADS
    theirs = convert(weights, to)
    assert all(theirs.state_dict[key] is value for key, value in HEADS.items())
    back = convert_state_dict(theirs.state_dict)
    assert_same(back, {key: value for key, value in weights.items() if key not in theirs.left_out})
    assert set(theirs.left_out) == (
        {f'backbone.{name}.{p}' for name in DENSE for p in ('weight', 'bias')}
        if to.startswith(('timm', 'torchvision'))
        else set()
    )


def test_upernet_between_transformers_and_mmseg():
    """A file of transformers in mmseg's names, and back to one that it loads strictly."""
    from transformers import ConvNextV2Config, UperNetConfig, UperNetForSemanticSegmentation

    stages = [f'stage{i}' for i in (1, 2, 3, 4)]
    backbone = ConvNextV2Config(
        depths=[1, 1, 2, 1], hidden_sizes=[8, 12, 16, 20], out_features=stages
    )
    model = UperNetForSemanticSegmentation(
        UperNetConfig(
            backbone_config=backbone,
            hidden_size=8,
            num_labels=3,
            auxiliary_in_channels=16,
            auxiliary_channels=6,
        )
    )
    theirs = model.state_dict()
    ours = convert_state_dict(theirs)
    assert {
        'decode_head.psp_modules.3.1.bn.running_var',
        'decode_head.conv_seg.bias',
        'auxiliary_head.convs.0.bn.weight',
        'auxiliary_head.conv_seg.weight',
        'backbone.norm3.weight',
        'backbone.stages.2.1.grn.beta',
    } <= ours.keys()
    assert not any('batch_norm' in key or 'classifier' in key for key in ours)
    back = convert_state_dict(ours, 'transformers')
    assert_same(back, theirs)
    model.load_state_dict(back)
    assert_same(convert_state_dict(theirs, 'transformers'), theirs)


def test_upernet_of_smp_becomes_mmsegs():
    weights = own_weights(norms=(), head=False)
    theirs = behind('encoder.model.', convert_state_dict(weights, 'timm_features'))
    theirs |= {
        f'{name.replace("{n}", str(i))}.weight': torch.ones(1) for name in SMP for i in range(4)
    }
    ours = convert_state_dict(theirs)
    assert ours.keys() - behind('backbone.', weights).keys() == {
        f'{name.replace("{n}", str(i))}.weight' for name in SMP.values() for i in range(4)
    }
    assert convert_state_dict(theirs, 'timm_features').keys() == theirs.keys()
    in_transformers = convert_state_dict(theirs, 'transformers')
    assert 'decode_head.classifier.weight' in in_transformers
    assert 'decode_head.conv_seg.weight' not in in_transformers


@pytest.mark.parametrize(
    'prefix, others',
    [
        (
            'visual.trunk.',
            ['visual.head.proj.weight', 'transformer.resblocks.0.ln_1.weight', 'logit_scale'],
        ),
        (
            'backbone.bottom_up.',
            ['backbone.fpn_lateral2.weight', 'proposal_generator.rpn_head.conv.weight'],
        ),
    ],
)
def test_foreign_whole_models_give_their_trunk_alone(prefix, others):
    weights = own_weights(head=False)
    theirs = behind(prefix, convert_state_dict(weights, 'timm')) | dict.fromkeys(
        others, torch.ones(1)
    )
    converted = to_facebook(theirs)
    assert_same(converted.state_dict, weights)
    assert converted.dropped.keys() == set(others) and converted.prefix == prefix
    assert all(f'outside {prefix[:-1]}' in reason for reason in converted.dropped.values())


@pytest.mark.parametrize(
    'norms, rest, expected',
    [
        (('norm',), {}, 'norm'),
        (('norm',), {'head.fc.weight': torch.ones(5, 20), 'head.fc.bias': torch.ones(5)}, 'norm'),
        (('norm3',), {'decode_head.conv_seg.weight': torch.ones(1)}, 'norm3'),
        (('norm3',), {'neck.x': torch.ones(1)}, 'norm3'),
    ],
)
def test_norm3_of_mmpretrain_is_a_classifiers_unless_something_sees_maps(norms, rest, expected):
    weights = own_weights(norms=norms, head=False)
    layout = 'mmpretrain' if norms == ('norm',) else 'mmpretrain_dense'
    theirs = behind('backbone.', from_facebook(weights, layout)[0]) | rest
    assert 'backbone.norm3.weight' in theirs
    converted = to_facebook(theirs)
    assert [
        key.rsplit('.', 2)[-2]
        for key in converted.state_dict
        if 'norm' in key and key.endswith('weight') and 'stages' not in key
    ] == [expected]
    assert ('head.weight' in converted.state_dict) == ('head.fc.weight' in rest)


def test_dinov3s_norm_is_both_final_norms():
    weights = own_weights(norms=('norm',), head=False)
    weights |= {'norm3.weight': weights['norm.weight'], 'norm3.bias': weights['norm.bias']}
    written = {
        'dinov3': {'norm', 'norms.3'},
        'transformers_dinov3': {'layer_norm'},
        'timm': {'head.norm'},
    }
    for to, names in written.items():
        theirs = convert_state_dict(weights, to)
        assert {
            key.rpartition('.')[0]
            for key in theirs
            if 'norm' in key and 'stage' not in key and 'downsample' not in key
        } == names
    theirs = convert_state_dict(weights, 'dinov3')
    theirs['norms.3.bias'] = theirs['norms.3.bias'] + 1
    with pytest.raises(
        ValueError, match=r'norm.bias and norms.3.bias are the same weight.*different numbers'
    ):
        to_facebook(theirs)
    with pytest.raises(ValueError, match=r'norm.weight and norm3.weight are the same weight'):
        convert_state_dict(weights | {'norm3.weight': torch.ones(20)}, 'transformers_dinov3')


def test_nothing_is_copied():
    weights = own_weights(use_grn=True)
    memory = {value.untyped_storage().data_ptr() for value in weights.values()}
    for to in ('timm', 'transformers', 'mmpretrain'):
        theirs = convert_state_dict(weights, to)
        back = convert_state_dict(theirs)
        assert {
            value.untyped_storage().data_ptr() for value in (*theirs.values(), *back.values())
        } == memory
        assert_same(back, weights)
    assert all(value.is_contiguous() for value in convert_state_dict(weights, 'timm').values())


def test_dtype_and_extra_channels_stay():
    weights = {key: value.half() for key, value in own_weights().items()}
    weights['downsample_layers.0.0.weight'] = torch.randn(8, 5, 4, 4).half()
    back = convert_state_dict(convert_state_dict(weights, 'torchvision'))
    assert_same(back, weights)
    assert all(value.dtype == torch.float16 for value in back.values())


# ---- refused ----


def isotropic():
    return {
        'stem.weight': torch.ones(8, 3, 16, 16),
        'blocks.0.dwconv.weight': torch.ones(8, 1, 7, 7),
    }


@pytest.mark.parametrize(
    'weights, message',
    [
        (lambda: timm.create_model('convnext_atto_ols').state_dict(), 'overlapping stem'),
        (lambda: timm.create_model('convnext_zepto_rms_ols').state_dict(), 'overlapping stem'),
        (
            lambda: timm.create_model('convnext_atto_ols', features_only=True).state_dict(),
            'overlapping stem',
        ),
        (lambda: timm.create_model('convnext_atto_rms').state_dict(), 'RMS norms'),
        (isotropic, 'isotropic'),
        (lambda: behind('backbone.', isotropic()), 'isotropic'),
        (
            lambda: timm.create_model('resnet10t').state_dict(),
            'no ConvNeXt in the layout facebook or.*conv1.0.weight',
        ),
        (lambda: {}, 'no ConvNeXt'),
        (
            lambda: own_weights() | behind('teacher.backbone.', own_weights()),
            'more than one ConvNeXt.*teacher.backbone.',
        ),
        (
            lambda: own_weights() | convert_state_dict(own_weights(), 'timm'),
            'more than one ConvNeXt',
        ),
        (
            lambda: own_weights() | {'stages.0.0.attn.x': torch.ones(1)},
            'layout facebook has no such names: .*attn.x',
        ),
        (
            lambda: own_weights() | {'stages.0.0.norm.scale': torch.ones(1)},
            'layout facebook has no such names: .*scale',
        ),
        (lambda: without('stages.1.0.norm.bias'), r'stages.1.0.norm.bias is missing'),
        (lambda: without('stages.1.0.gamma'), r'stages.1.0.gamma is missing'),
        (lambda: without('stages.1.0.dwconv.weight'), r'stages.1.0.dwconv.weight is missing'),
        (lambda: without('stages.1.1.dwconv.weight'), r'stages.1.1.dwconv.weight is missing'),
        (lambda: without('norm.weight'), r'norm.weight is missing'),
        (lambda: without('head.bias'), r'head.bias is missing'),
        (
            lambda: own_weights() | {'downsample_layers.7.0.bias': torch.ones(1)},
            'layers.7.0.bias belongs to no stage',
        ),
        (
            lambda: own_weights() | {'stages.99.0.gamma': torch.ones(1)},
            'stages.99.0.gamma belongs to no stage',
        ),
        (lambda: own_weights() | {'norm7.bias': torch.ones(1)}, 'norm7.bias belongs to no stage'),
        (
            lambda: own_weights() | {f'stages.{i}.9999.gamma': torch.ones(1) for i in range(10)},
            'imply 100,000 blocks',
        ),
        (
            lambda: own_weights() | {'head.weight': torch.ones(5, 19)},
            r'head.weight is \(5, 19\), expected \(5, 20\)',
        ),
        (
            lambda: own_weights() | {'head.bias': torch.ones(4)},
            r'head.bias is \(4,\), expected \(5,\)',
        ),
        (lambda: own_weights() | {'norm1.bias': torch.ones(12)}, r'norm1.weight is missing'),
        (
            lambda: own_weights() | {'norm.bias': torch.ones(20).int()},
            r'norm.bias holds torch.int32',
        ),
        (
            lambda: without('downsample_layers.2.1.weight'),
            r'downsample_layers.2.1.weight is missing',
        ),
        (
            lambda: own_weights() | {'stages.1.1.pwconv1.weight': torch.ones(12, 48)},
            r'is \(12, 48\), expected \(48, 12\)',
        ),
        (
            lambda: own_weights() | {'stages.1.1.norm.bias': torch.ones(12).long()},
            r'norm.bias holds torch.int64',
        ),
        (
            lambda: own_weights() | {'downsample_layers.0.0.weight': torch.ones(8, 3, 2, 2)},
            r'\(8, 3, 2, 2\), expected',
        ),
    ],
)
def test_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        convert_state_dict(weights())


def without(name):
    return {key: value for key, value in own_weights().items() if key != name}


def test_refused_on_the_way_out():
    with pytest.raises(
        ValueError, match=r'layout torchvision.*no place for 10 weights: stages.0.0.grn.gamma'
    ):
        convert_state_dict(own_weights(use_grn=True), 'torchvision')
    with pytest.raises(ValueError, match="layout must be one of facebook, .*; got 'keras'"):
        convert_state_dict(own_weights(), 'keras')
    with pytest.raises(ValueError, match='no ConvNeXt in the layout timm:'):
        convert_state_dict(own_weights(), layout='timm')


def test_layout_can_be_given_where_two_are_mixed():
    mixed = own_weights() | {
        key: value
        for key, value in convert_state_dict(own_weights(), 'torchvision').items()
        if key.startswith('features.1')
    }
    assert detect_layout(mixed, layout='facebook').layout == 'facebook'
    assert to_facebook(mixed, layout='facebook').unexpected[0].startswith('features.1')


@pytest.mark.parametrize('given', [torch.nn.Linear(1, 1), {1: torch.ones(1)}])
def test_what_is_no_state_dict_is_refused(given):
    with pytest.raises(ValueError, match='expected a state dict, names and tensors'):
        convert_state_dict(given)
