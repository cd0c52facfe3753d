"""Stems for other than three channels: timm's rule, the formulas by hand, and through init_cfg."""

import pytest
import torch

from convnext_dense.checkpoints.match import adapt_stem
from convnext_dense.models import ConvNeXt

SMALL = dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
@pytest.mark.parametrize('in_channels', [1, 2, 3, 4, 5, 6, 7, 13])
def test_default_is_timms_rule(in_channels, dtype):
    from timm.models._manipulate import adapt_input_conv

    weight = torch.randn(8, 3, 4, 4).to(dtype)
    expected = adapt_input_conv(in_channels, weight.clone())
    torch.testing.assert_close(adapt_stem(weight, in_channels), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ('rule', 'in_channels', 'expected'),
    [  # a stem of one pixel with weights 1, 2 and 6
        ('sum', 1, [9]),
        ('sum', 2, [4.5, 4.5]),
        ('sum', 4, [2.25] * 4),
        ('repeat', 1, [3]),
        ('repeat', 2, [1.5, 3]),
        ('repeat', 4, [0.75, 1.5, 4.5, 0.75]),
        ('repeat', 6, [0.5, 1, 3, 0.5, 1, 3]),
        ('mean', 1, [3]),
        ('mean', 2, [3, 3]),
        ('mean', 4, [3] * 4),
        (None, 1, [9]),
        (None, 4, [0.75, 1.5, 4.5, 0.75]),
    ],
)
def test_formulas_by_hand(rule, in_channels, expected):
    weight = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1)
    assert adapt_stem(weight, in_channels, rule).flatten().tolist() == expected


@pytest.mark.parametrize(
    ('rule', 'in_channels'), [('sum', 1), ('sum', 4), ('sum', 6), ('repeat', 3), ('repeat', 6)]
)
def test_a_grey_image_gives_what_it_gave(rule, in_channels):
    weight, grey = (
        torch.randn(8, 3, 4, 4, dtype=torch.float64),
        torch.randn(1, 1, 4, 4, dtype=torch.float64),
    )
    before = torch.conv2d(grey.expand(1, 3, 4, 4), weight)
    after = torch.conv2d(grey.expand(1, in_channels, 4, 4), adapt_stem(weight, in_channels, rule))
    torch.testing.assert_close(before, after)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((torch.ones(8, 3, 4, 4), 4, 'average'), "one of sum, repeat, mean.*got 'average'"),
        ((torch.ones(8, 3), 4), r'a convolution .*got shape \(8, 3\)'),
        ((torch.ones(8, 3, 4, 4), 0), 'at least one channel'),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        adapt_stem(*arguments)


@pytest.mark.parametrize('in_channels', [1, 4])
@pytest.mark.parametrize('rule', [None, 'sum', 'repeat', 'mean'])
def test_through_init_cfg(tmp_path, in_channels, rule):
    source = ConvNeXt(SMALL).state_dict()
    torch.save(source, tmp_path / 'c.pth')
    backbone = ConvNeXt(
        SMALL,
        in_channels,
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'c.pth'), in_channels=rule),
    )
    backbone.init_weights()
    stem = 'downsample_layers.0.0.weight'
    assert torch.equal(backbone.state_dict()[stem], adapt_stem(source[stem], in_channels, rule))
    assert all(
        torch.equal(value, source[name])
        for name, value in backbone.state_dict().items()
        if name != stem
    )


def test_a_file_of_other_channels_than_three_is_refused(tmp_path):
    torch.save(ConvNeXt(SMALL, 4).state_dict(), tmp_path / 'c.pth')
    cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'c.pth'))
    ConvNeXt(SMALL, 4, init_cfg=cfg).init_weights()  # as it is
    with pytest.raises(
        ValueError, match=r'Wrong shape: downsample_layers\.0\.0\.weight: file \(8, 4, 4, 4\)'
    ):
        ConvNeXt(SMALL, init_cfg=cfg).init_weights()
