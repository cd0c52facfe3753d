"""The tables: hand-written anchors, every name of every arch, published networks, shapes."""

import re
from pathlib import Path

import pytest
import timm
import torch

from convnext_dense.checkpoints import LAYOUTS, to_facebook
from convnext_dense.checkpoints.convert import from_facebook
from convnext_dense.checkpoints.layouts.layout import Pattern
from convnext_dense.checkpoints.trunk import Trunk, check_trunk, measure_trunk
from convnext_dense.variants import VARIANTS

DOCS = Path(__file__).parents[2] / 'docs' / 'checkpoints.md'

# layout: (base, theirs, ours)
ANCHORS = {
    'facebook': [
        ('', 'downsample_layers.0.0.weight', 'downsample_layers.0.0.weight'),
        ('', 'stages.2.26.grn.beta', 'stages.2.26.grn.beta'),
        ('', 'norm2.bias', 'norm2.bias'),
        ('', 'head.weight', 'head.weight'),
    ],
    'dinov3': [('', 'norms.3.weight', 'norm3.weight'), ('', 'norm.bias', 'norm.bias')],
    'fcmae': [
        ('encoder.', 'encoder.downsample_layers.2.1.kernel', 'downsample_layers.2.1.weight'),
        ('encoder.', 'encoder.downsample_layers.2.0.ln.bias', 'downsample_layers.2.0.bias'),
        ('encoder.', 'encoder.stages.3.0.pwconv2.linear.weight', 'stages.3.0.pwconv2.weight'),
    ],
    'timm': [
        ('', 'stem.1.bias', 'downsample_layers.0.1.bias'),
        ('', 'stages.3.downsample.1.weight', 'downsample_layers.3.1.weight'),
        ('', 'stages.0.blocks.2.mlp.grn.weight', 'stages.0.2.grn.gamma'),
        ('', 'stages.1.blocks.0.mlp.fc2.bias', 'stages.1.0.pwconv2.bias'),
        ('', 'head.norm.weight', 'norm.weight'),
        ('', 'head.fc.bias', 'head.bias'),
    ],
    'timm_features': [
        ('', 'stem_0.weight', 'downsample_layers.0.0.weight'),
        ('', 'stages_1.blocks.0.conv_dw.bias', 'stages.1.0.dwconv.bias'),
    ],
    'timm_hnf': [('', 'norm_pre.weight', 'norm3.weight')],
    'timm_mlp_head': [('', 'head.pre_logits.fc.weight', None), ('', 'head.fc.weight', None)],
    'torchvision': [
        ('', 'features.0.0.weight', 'downsample_layers.0.0.weight'),
        ('', 'features.6.1.weight', 'downsample_layers.3.1.weight'),
        ('', 'features.1.0.block.0.weight', 'stages.0.0.dwconv.weight'),
        ('', 'features.7.2.block.5.bias', 'stages.3.2.pwconv2.bias'),
        ('', 'features.5.8.layer_scale', 'stages.2.8.gamma'),
        ('', 'classifier.0.weight', 'norm.weight'),
        ('', 'classifier.2.bias', 'head.bias'),
    ],
    'transformers': [
        ('convnext.', 'convnext.embeddings.layernorm.weight', 'downsample_layers.0.1.weight'),
        ('convnextv2.', 'convnextv2.encoder.stages.0.layers.1.grn.weight', 'stages.0.1.grn.gamma'),
        ('', 'encoder.stages.2.downsampling_layer.0.bias', 'downsample_layers.2.0.bias'),
        (
            'convnext.',
            'convnext.encoder.stages.3.layers.0.layer_scale_parameter',
            'stages.3.0.gamma',
        ),
        ('', 'hidden_states_norms.stage1.weight', 'norm0.weight'),
        ('', 'hidden_states_norms.stage4.bias', 'norm3.bias'),
        ('convnext.', 'convnext.layernorm.bias', 'norm.bias'),
        ('convnext.', 'classifier.weight', 'head.weight'),
    ],
    'transformers_dinov3': [
        ('model.', 'model.stages.0.downsample_layers.1.weight', 'downsample_layers.0.1.weight'),
        ('model.', 'model.stages.3.layers.2.pointwise_conv1.bias', 'stages.3.2.pwconv1.bias'),
        ('model.', 'layer_norm.weight', 'norm.weight'),
    ],
    'transformers_dinov3_4': [('', 'stages.2.layers.1.gamma', 'stages.2.1.gamma')],
    'mmpretrain': [
        ('backbone.', 'backbone.stages.1.0.depthwise_conv.weight', 'stages.1.0.dwconv.weight'),
        ('backbone.', 'backbone.norm3.weight', 'norm.weight'),
        ('backbone.', 'head.fc.weight', 'head.weight'),
    ],
    'mmpretrain_dense': [
        ('', 'norm3.weight', 'norm3.weight'),
        ('', 'norm0.bias', 'norm0.bias'),
        ('', 'stages.1.0.pointwise_conv2.bias', 'stages.1.0.pwconv2.bias'),
    ],
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_hand_written_anchors(layout):
    for base, theirs, ours in ANCHORS[layout]:
        assert ours in [name for name, _ in LAYOUTS[layout].read(theirs, base)], theirs
        if ours:
            assert theirs in [name for name, _ in LAYOUTS[layout].write(ours, base)], ours


CANNOT_HOLD = {
    'dinov3': r'\.grn\.',
    'torchvision': r'\.grn\.',
    'transformers_dinov3': r'\.grn\.',
    'transformers_dinov3_4': r'\.grn\.',
    'fcmae': r'\d\.gamma',
}


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('arch', ['tiny', 'v2_huge'])
def test_every_weight_of_the_trunk_has_one_name(layout, arch):
    variant = VARIANTS[arch]
    names = Trunk(variant.depths, variant.dims, variant.use_grn, not variant.use_grn, 3).shapes()
    written = {name: LAYOUTS[layout].write(name, '') for name in names}
    wrong = {name for name, found in written.items() if len(found) != 1}
    assert wrong == {name for name in names if re.search(CANNOT_HOLD.get(layout, 'nothing'), name)}
    assert len({found[0][0] for found in written.values() if found}) == len(names) - len(wrong)


def timm_name(arch):
    return (
        f'convnextv2_{arch.removeprefix("v2_")}' if arch.startswith('v2_') else f'convnext_{arch}'
    )


def assert_published(arch, layout):
    variant = VARIANTS[arch]
    with torch.device('meta'):  # names and shapes without numbers
        theirs = timm.create_model(
            timm_name(arch), features_only=layout == 'timm_features'
        ).state_dict()
    converted = to_facebook(theirs)
    check_trunk(converted.state_dict)
    assert (converted.trunk.depths, converted.trunk.dims) == (variant.depths, variant.dims)
    assert converted.trunk.arch == f'{arch} {variant.depths}, {variant.dims}'
    back, _ = from_facebook(converted.state_dict, layout)
    assert {k: v.shape for k, v in back.items()} == {k: v.shape for k, v in theirs.items()}


NARROW = [arch for arch in VARIANTS if VARIANTS[arch].dims[0] < 100 and 'small' not in arch]
QUICK = [('atto', 'timm_features'), ('tiny', 'timm_features'), *((arch, 'timm') for arch in NARROW)]
SLOW = sorted(
    {(arch, layout) for arch in VARIANTS for layout in ('timm', 'timm_features')} - {*QUICK}
)


@pytest.mark.parametrize(
    'arch, layout', [*QUICK, *(pytest.param(*one, marks=pytest.mark.slow) for one in SLOW)]
)
def test_published_timm_networks_have_these_names_and_shapes(arch, layout):
    """Among them those whose pointwise layers are convolutions."""
    assert_published(arch, layout)


def test_sparse_kernels_count_columns_first():
    """MinkowskiEngine's kernel of n * n places: b * n + a is row a, column b of the dense one."""
    kernel, depthwise = torch.randn(4, 3, 5), torch.randn(49, 6)
    rows = {row.ours.text: row.shape for row in LAYOUTS['fcmae'].rows if row.ours}
    dense = rows['downsample_layers.{d}.1.weight'].read(kernel)
    assert dense.shape == (5, 3, 2, 2)
    assert all(
        dense[o, i, a, b] == kernel[b * 2 + a, i, o]
        for o in range(5)
        for i in range(3)
        for a in range(2)
        for b in range(2)
    )
    dense = rows['stages.{i}.{j}.dwconv.weight'].read(depthwise)
    assert dense.shape == (6, 1, 7, 7)
    assert all(
        dense[c, 0, a, b] == depthwise[b * 7 + a, c]
        for c in range(6)
        for a in range(7)
        for b in range(7)
    )


def test_patterns():
    pattern = Pattern('features.{2i+1}.{j}.block.0.{p}')
    assert pattern.read('features.5.12.block.0.bias') == {'i': 2, 'j': 12, 'p': 'bias'}
    assert pattern.write({'i': 2, 'j': 12, 'p': 'bias'}) == 'features.5.12.block.0.bias'
    for key in (
        'features.4.12.block.0.bias',
        'features.5.012.block.0.bias',
        'features.5.1.block.0.scale',
        'features.5.1.block.00.bias',
        'xfeatures.5.1.block.0.bias',
        'features.5.1.block.0.bias.x',
        'featuresx5.1.block.0.bias',
    ):
        assert pattern.read(key) is None, key
    assert (
        Pattern('features.{2d}.{k}.{p}').read('features.0.0.weight') is None
    )  # the stem is no {d}
    assert Pattern('stage{i+1}.{p}').read('stage0.bias') is None
    assert Pattern('stage{i+1}.{p}').write({'i': 3, 'p': 'bias'}) == 'stage4.bias'


def test_what_is_left_out_has_a_reason_and_what_is_not_has_none():
    for layout in LAYOUTS.values():
        assert layout.anchor is not None, layout.name
        for row in (*layout.rows, *layout.outside):
            assert bool(row.reason) == (row.theirs is None or row.ours is None), (layout.name, row)


def test_docs_name_every_layout():
    text = DOCS.read_text(encoding='utf-8')
    assert [name for name in LAYOUTS if f'`{name}`' not in text] == []


def test_size_is_read_off_the_weights():
    names = Trunk((1, 2, 1, 3), (8, 12, 16, 20), True, False, 4).shapes()
    weights = {f'backbone.{name}': torch.zeros(shape) for name, shape in names.items()}
    trunk = measure_trunk(weights | {'head.weight': torch.zeros(1)}, 'backbone.')
    assert trunk == Trunk((1, 2, 1, 3), (8, 12, 16, 20), True, False, 4)
    assert trunk.arch == '(1, 2, 1, 3), (8, 12, 16, 20)'
    check_trunk(weights, 'backbone.')
    assert measure_trunk({}) == Trunk((), (), False, False, 3)
