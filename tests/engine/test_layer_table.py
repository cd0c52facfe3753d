import pytest
import torch

from convnext_dense.engine.layer_table import describe_parts, format_table, get_part


@pytest.mark.parametrize(
    'name, part',
    [
        ('downsample_layers.0.1.bias', ('stem', None)),
        ('downsample_layers.2.1.weight', ('downsample_layers', 2)),
        ('stages.2.14.grn.gamma', ('stages.2', 14)),
        ('norm0.weight', ('norm0', None)),
        ('head.weight', ('head', None)),
    ],
)
def test_part(name, part):
    assert get_part(name) == part


@pytest.mark.parametrize(
    'parts, text',
    [
        ([('stages.2', 0), ('stages.2', 2), ('stages.2', 1)], 'stages.2 blocks 0-2'),
        ([('stages.2', i) for i in (0, 1, 2, 4, 6, 7)], 'stages.2 blocks 0-2,4,6-7'),
        ([('stages.3', 0), ('downsample_layers', 3)], 'stages.3 block 0, downsample_layers.3'),
        (
            [('stem', None), ('downsample_layers', 1), ('downsample_layers', 2)],
            'stem, downsample_layers.1-2',
        ),
        ([('neck', None), ('head', None), ('neck', None)], 'neck, head'),
    ],
)
def test_description(parts, text):
    assert describe_parts(parts) == text


def test_long_description_is_cut():
    text = describe_parts((f'a_long_name_{i}', None) for i in range(9))
    assert len(text) <= 56 and text.startswith('a_long_name_0, ') and text.endswith(' ...')


def test_groups_of_one_layer_and_rate_share_a_line():
    params = [torch.zeros(n) for n in (1000, 20, 3)]
    groups = [
        dict(layer_id=4, lr=1e-4, weight_decay=0.05, params=[params[0]]),
        dict(layer_id=4, lr=1e-4, weight_decay=0.0, params=[params[1]]),
        dict(layer_id=4, lr=2e-4, params=[params[2]]),
    ]
    _, first, second = format_table(
        groups, {id(param): ('head', None) for param in params}
    ).splitlines()
    assert first.split() == ['4', 'head', '1,020', '1.000e-04', '0.05', '(0', 'on', '20)']
    assert second.split() == ['4', 'head', '3', '2.000e-04', "optimizer's"]
