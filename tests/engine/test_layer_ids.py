"""Layer ids and learning-rate scales, by hand."""

import pytest

from convnext_dense.engine.layer_ids import (
    DECAY_TYPES,
    check_num_layers,
    get_layer_id,
    get_lr_scale,
    get_num_layers,
)
from convnext_dense.variants import VARIANTS

TINY = (3, 3, 9, 3)
BASE = (3, 3, 27, 3)


@pytest.mark.parametrize(
    'arch, num_layers',
    [
        ('atto', 5),
        ('femto', 5),
        ('pico', 5),
        ('nano', 6),
        ('tiny', 6),
        ('small', 12),
        ('base', 12),
        ('large', 12),
        ('xlarge', 12),
        ('xxlarge', 13),
        ('v2_atto', 5),
        ('v2_nano', 6),
        ('v2_tiny', 6),
        ('v2_huge', 12),
    ],
)
def test_num_layers_of_published_variants(arch, num_layers):
    depths = VARIANTS[arch].depths
    assert get_num_layers(depths, 'layer_wise') == num_layers
    assert get_num_layers(depths, 'stage_wise') == num_layers
    assert get_num_layers(depths, 'block_wise') == sum(depths)


@pytest.mark.parametrize(
    'name, layer_wise, stage_wise, block_wise',
    [
        ('downsample_layers.0.0.weight', 0, 0, 1),
        ('stages.0.0.gamma', 1, 1, 1),
        ('stages.0.2.norm.bias', 1, 1, 3),
        ('downsample_layers.1.1.weight', 2, 0, 4),
        ('stages.1.1.dwconv.weight', 2, 2, 5),
        ('downsample_layers.2.0.bias', 3, 0, 7),
        ('stages.2.0.gamma', 3, 3, 7),
        ('stages.2.2.gamma', 3, 3, 9),
        ('stages.2.3.gamma', 4, 3, 10),
        ('stages.2.8.gamma', 5, 3, 15),
        ('downsample_layers.3.1.weight', 6, 0, 16),
        ('stages.3.2.pwconv1.weight', 6, 4, 18),
        ('norm0.weight', 7, 7, 19),
        ('norm.bias', 7, 7, 19),
        ('head.weight', 7, 7, 19),
    ],
)
def test_tiny_by_hand(name, layer_wise, stage_wise, block_wise):
    """The ids of the authors' functions, worked out by hand for the depths 3-3-9-3."""
    assert get_layer_id(name, TINY, 'layer_wise') == layer_wise
    assert get_layer_id(name, TINY, 'stage_wise') == stage_wise
    assert get_layer_id(name, TINY, 'block_wise') == block_wise


@pytest.mark.parametrize(
    'name, layer_wise, block_wise',
    [
        ('stages.2.26.gamma', 11, 33),
        ('downsample_layers.3.0.weight', 12, 34),
        ('stages.3.0.gamma', 12, 34),
        ('norm3.bias', 13, 37),
    ],
)
def test_base_by_hand(name, layer_wise, block_wise):
    assert get_layer_id(name, BASE, 'layer_wise') == layer_wise
    assert get_layer_id(name, BASE, 'block_wise') == block_wise


@pytest.mark.parametrize(
    'depths', [(4,), (2, 5), (7, 3), (2, 4, 2), (1, 1, 1, 1, 1), (2, 2, 2, 10, 2)]
)
@pytest.mark.parametrize('decay_type', DECAY_TYPES)
def test_any_number_of_stages(depths, decay_type):
    """Ids rise along the trunk, without a gap except in stage_wise."""
    ids = []
    for i, depth in enumerate(depths):
        for j in range(depth):
            ids.append(get_layer_id(f'stages.{i}.{j}.gamma', depths, decay_type))
    num_layers = get_num_layers(depths, decay_type)
    assert ids == sorted(ids)
    assert ids[0] == 1 and ids[-1] <= num_layers
    if decay_type != 'stage_wise':
        assert sorted(set(ids)) == list(range(1, num_layers + 1))


def test_last_but_one_stage_is_cut():
    ids = [get_layer_id(f'stages.0.{j}.gamma', (7, 3), 'layer_wise') for j in range(7)]
    assert ids == [1] * 3 + [2] * 3 + [3]
    assert get_layer_id('stages.1.0.gamma', (7, 3), 'layer_wise') == 4
    assert get_num_layers((7, 3), 'layer_wise') == 4


def test_scale_is_one_after_the_last_layer():
    assert get_lr_scale(7, 6, 0.9) == 1.0
    assert get_lr_scale(0, 6, 0.9) == pytest.approx(0.4782969)


@pytest.mark.parametrize(
    'decay_type, given, right',
    [
        ('layer_wise', 12, 6),
        ('stage_wise', 12, 6),
        ('block_wise', 6, 18),
        ('layer_wise', 0, 6),
        ('layer_wise', '6', 6),
    ],
)
def test_contradicting_num_layers(decay_type, given, right):
    message = rf'num_layers={given!r} contradicts.*\(3, 3, 9, 3\).*num_layers={right}\b'
    with pytest.raises(ValueError, match=message):
        check_num_layers(given, TINY, decay_type)
    assert check_num_layers(right, TINY, decay_type) == right
    assert check_num_layers(None, TINY, decay_type) == right


def test_unknown_decay_type_lists_the_three():
    message = "'layer_wise', 'stage_wise', 'block_wise'; got 'layerwise'"
    with pytest.raises(ValueError, match=message):
        get_layer_id('norm0.weight', TINY, 'layerwise')


@pytest.mark.parametrize(
    'name',
    [
        'stages.2.9.gamma',
        'stages.4.0.gamma',
        'stages.1.downsample.weight',
        'stages.1',
        'downsample_layers.4.0.weight',
        'downsample_layers',
        'stages.-1.0.gamma',
    ],
)
@pytest.mark.parametrize('decay_type', DECAY_TYPES)
def test_name_outside_the_depths(name, decay_type):
    with pytest.raises(ValueError, match=r'cannot tell the layer of parameter .*\(3, 3, 9, 3\)'):
        get_layer_id(name, TINY, decay_type)
