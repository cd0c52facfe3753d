"""UperNet as transformers and smp write it, in mmseg's: names, values and outputs."""

import pytest
import torch

import convnext_dense  # noqa: F401  (before mmseg: it stands in for mmcv's compiled ops)
from convnext_dense.checkpoints import load_weights
from convnext_dense.checkpoints.layouts.upernet import SMP, TRANSFORMERS, name_as_mmseg
from convnext_dense.checkpoints.match import _is_final_layer as is_final_layer

DIMS, CHANNELS, CLASSES = (8, 16, 24, 32), 12, 5
NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')


def mmseg_upernet(auxiliary=True):
    from mmengine.registry import MODELS, init_default_scope

    init_default_scope('mmseg')
    common = dict(
        num_classes=CLASSES,
        norm_cfg=dict(type='BN'),
        align_corners=False,
        dropout_ratio=0.1,
        loss_decode=dict(type='CrossEntropyLoss'),
    )
    return MODELS.build(
        dict(
            type='EncoderDecoder',
            backbone=dict(
                type='convnext_dense.ConvNeXt', arch=dict(depths=(1, 1, 2, 1), dims=DIMS)
            ),
            decode_head=dict(
                type='UPerHead',
                in_channels=list(DIMS),
                in_index=[0, 1, 2, 3],
                channels=CHANNELS,
                **common,
            ),
            auxiliary_head=dict(
                type='FCNHead',
                in_channels=DIMS[2],
                in_index=2,
                channels=6,
                num_convs=1,
                concat_input=False,
                **common,
            )
            if auxiliary
            else None,
        )
    )


def randomize(model):
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith(('running_var', 'layer_scale_parameter')):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point():
                value.normal_(0, 0.3)


@pytest.fixture(scope='module')
def transformers_upernet():
    from transformers import ConvNextConfig, UperNetConfig, UperNetForSemanticSegmentation

    backbone = ConvNextConfig(
        depths=[1, 1, 2, 1],
        hidden_sizes=list(DIMS),
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
    )
    model = UperNetForSemanticSegmentation(
        UperNetConfig(
            backbone_config=backbone,
            hidden_size=CHANNELS,
            num_labels=CLASSES,
            auxiliary_in_channels=DIMS[2],
            auxiliary_channels=6,
        )
    )
    randomize(model)
    return model.eval()


@torch.no_grad()
def test_transformers_upernet_gives_the_same_outputs(tmp_path, transformers_upernet):
    torch.save(transformers_upernet.state_dict(), tmp_path / 'pytorch_model.bin')
    model = mmseg_upernet().eval()
    report = load_weights(model, tmp_path / 'pytorch_model.bin')
    assert len(report.loaded) == len(model.state_dict()) == len(transformers_upernet.state_dict())
    assert 'transformers' in report.layout and not report.unexpected and not report.dropped
    images = torch.randn(2, 3, 64, 96)
    maps = model.backbone(images)
    theirs = transformers_upernet.backbone(images).feature_maps
    for head, own in (
        (transformers_upernet.decode_head, model.decode_head),
        (transformers_upernet.auxiliary_head, model.auxiliary_head),
    ):
        expected = head(theirs)
        assert expected.std() > 0.1
        torch.testing.assert_close(own(maps), expected, rtol=1e-5, atol=1e-5)


def test_every_row_of_transformers_is_needed(transformers_upernet, monkeypatch):
    """Without a row, or with another target, a weight of ours is not found."""
    keys = list(transformers_upernet.state_dict())
    heads = {name for name in mmseg_upernet().state_dict() if 'head.' in name}
    assert {*name_as_mmseg(keys).values()} == heads
    for row in list(TRANSFORMERS):
        if 'conv_cat' in row:  # of a head with concat_input, which these files do not have
            continue
        with monkeypatch.context() as patch:
            patch.delitem(TRANSFORMERS, row)
            assert {*name_as_mmseg(keys).values()} != heads, row


def smp_upernet():
    """What smp 0.4 and later write for UPerNet on 'tu-convnext_*', by hand: name -> shape."""
    shapes, last = {}, DIMS[3]

    def conv_norm(name, *shape):
        shapes[f'{name}.0.weight'] = shape
        shapes.update({f'{name}.1.{leaf}': shape[:1] if leaf != NORM[-1] else () for leaf in NORM})

    for i, dim in enumerate(DIMS):
        shapes.update(
            {f'decoder.feature_norms.{i}.weight': (dim,), f'decoder.feature_norms.{i}.bias': (dim,)}
        )
        conv_norm(f'decoder.psp.blocks.{i}.1', CHANNELS, last, 1, 1)
    conv_norm('decoder.psp.out_conv', CHANNELS, last + 4 * CHANNELS, 3, 3)
    for i, dim in enumerate(reversed(DIMS[:3])):  # from the smallest map to the largest
        conv_norm(f'decoder.fpn_lateral_blocks.{i}.conv_norm_relu', CHANNELS, dim, 1, 1)
        conv_norm(f'decoder.fpn_conv_blocks.{i}', CHANNELS, CHANNELS, 3, 3)
    conv_norm('decoder.fusion_block', CHANNELS, 4 * CHANNELS, 3, 3)
    return shapes | {
        'segmentation_head.0.weight': (CLASSES, CHANNELS, 1, 1),
        'segmentation_head.0.bias': (CLASSES,),
    }


def test_smp_upernet_loads_with_its_lists_turned_round(tmp_path):
    import timm

    encoder = timm.create_model('convnext_atto', features_only=True, depths=(1, 1, 2, 1), dims=DIMS)
    weights = {f'encoder.model.{name}': value for name, value in encoder.state_dict().items()}
    weights |= {
        name: torch.randint(9, shape) if name.endswith('tracked') else torch.randn(shape)
        for name, shape in smp_upernet().items()
    }
    torch.save(weights, tmp_path / 'c.pth')
    model = mmseg_upernet(auxiliary=False)
    report = load_weights(model, tmp_path / 'c.pth')
    own = model.state_dict()
    assert len(report.loaded) == len(own) == len(weights) and not report.unexpected
    for ours, theirs in {
        'decode_head.lateral_convs.0.conv.weight': (
            'decoder.fpn_lateral_blocks.2.conv_norm_relu.0.weight'
        ),
        'decode_head.lateral_convs.1.bn.bias': 'decoder.fpn_lateral_blocks.1.conv_norm_relu.1.bias',
        'decode_head.fpn_convs.0.bn.running_var': 'decoder.fpn_conv_blocks.2.1.running_var',
        'decode_head.fpn_convs.1.conv.weight': 'decoder.fpn_conv_blocks.1.0.weight',
        'decode_head.fpn_convs.2.conv.weight': 'decoder.fpn_conv_blocks.0.0.weight',
        'decode_head.psp_modules.3.1.bn.weight': 'decoder.psp.blocks.3.1.1.weight',
        'decode_head.bottleneck.bn.bias': 'decoder.psp.out_conv.1.bias',
        'decode_head.fpn_bottleneck.bn.bias': 'decoder.fusion_block.1.bias',
        'backbone.norm2.bias': 'decoder.feature_norms.2.bias',
        'decode_head.conv_seg.bias': 'segmentation_head.0.bias',
    }.items():
        assert torch.equal(own[ours], weights[theirs]), ours
    assert len(set(SMP.values())) == len(SMP)
    backbone = (
        mmseg_upernet().backbone
    )  # on its own it takes the norms, which smp has in the decoder
    load_weights(backbone, tmp_path / 'c.pth')
    assert torch.equal(backbone.norm2.bias, weights['decoder.feature_norms.2.bias'])


def test_a_head_that_the_file_lacks_is_an_error_for_evaluation(tmp_path):
    source = mmseg_upernet(auxiliary=False)
    torch.save(source.state_dict(), tmp_path / 'c.pth')
    with pytest.raises(ValueError, match='Missing: auxiliary_head.conv_seg.weight'):
        load_weights(mmseg_upernet(), tmp_path / 'c.pth')
    report = load_weights(source, tmp_path / 'c.pth')
    assert report.complete and not report.unexpected
    torch.save(mmseg_upernet().state_dict(), tmp_path / 'c.pth')  # one head more than the model
    assert (
        load_weights(source, tmp_path / 'c.pth').unexpected[0] == 'auxiliary_head.conv_seg.weight'
    )


@pytest.mark.parametrize('scope', ['mmseg', 'mmdet', None])
def test_init_cfg_of_a_whole_model_is_strict(tmp_path, scope):
    from mmengine.registry import init_default_scope

    source, model = mmseg_upernet(), mmseg_upernet()
    randomize(source)
    init_default_scope(scope or 'mmengine')
    weights = source.state_dict()
    torch.save(dict(state_dict=weights), tmp_path / 'c.pth')
    model.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'c.pth'))
    model.init_weights()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    broken = mmseg_upernet()
    broken.init_cfg = dict(model.init_cfg)
    del weights['decode_head.bottleneck.conv.weight']
    torch.save(weights, tmp_path / 'c.pth')
    with pytest.raises(ValueError, match='Missing: decode_head.bottleneck.conv.weight'):
        broken.init_weights()


def test_init_cfg_of_the_backbone_in_a_whole_model(tmp_path):
    model = mmseg_upernet()
    weights = {name: torch.randn_like(value) for name, value in model.backbone.state_dict().items()}
    torch.save(weights, tmp_path / 'c.pth')
    model.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'c.pth'))
    model.init_weights()
    assert all(
        torch.equal(value, weights[name]) for name, value in model.backbone.state_dict().items()
    )


def test_init_cfg_of_a_whole_model_starts_anew_for_other_classes_only(tmp_path):
    source, model = mmseg_upernet().state_dict(), mmseg_upernet()
    before = model.decode_head.conv_seg.weight.clone()
    source['decode_head.conv_seg.weight'] = torch.ones(19, CHANNELS, 1, 1)
    source['decode_head.conv_seg.bias'] = torch.ones(19)
    torch.save(source, tmp_path / 'c.pth')
    model.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'c.pth'))
    from convnext_dense.models.pretrained import init_pretrained

    report = init_pretrained(model, model.init_cfg)
    assert report.fresh == dict.fromkeys(
        ['decode_head.conv_seg.weight', 'decode_head.conv_seg.bias'],
        f'the file has 19 outputs, the model {CLASSES}',
    )
    assert torch.equal(model.decode_head.conv_seg.weight, before)
    with pytest.raises(
        ValueError, match=r'Wrong shape: decode_head.conv_seg.weight: file \(19, 12'
    ):
        load_weights(model, tmp_path / 'c.pth')


def test_a_backbone_alone_does_not_fit_a_whole_model(tmp_path):
    model = mmseg_upernet()
    torch.save(model.backbone.state_dict(), tmp_path / 'c.pth')
    with pytest.raises(
        ValueError, match="without necks and heads: put init_cfg on the model's backbone"
    ):
        load_weights(model, tmp_path / 'c.pth')


def test_models_without_our_backbone_keep_mmengines_initializer(tmp_path):
    from mmengine.model import BaseModule

    import convnext_dense.models  # noqa: F401

    class Linear(torch.nn.Linear, BaseModule):
        def __init__(self, **options):
            BaseModule.__init__(
                self, dict(type='Pretrained', checkpoint=str(tmp_path / 'c.pth'), **options)
            )
            torch.nn.Linear.__init__(self, 3, 2)
            self.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'c.pth'), **options)
            self._is_init = False

    torch.save(dict(state_dict=dict(weight=torch.full((2, 3), 7.0))), tmp_path / 'c.pth')
    linear = Linear()
    linear.init_weights()  # not strict: the bias is missing
    assert linear.weight.eq(7).all()
    with pytest.raises(
        TypeError, match='takes keep_norm only for models with a convnext_dense.ConvNeXt'
    ):
        Linear(keep_norm=True).init_weights()


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('decode_head.conv_seg.weight', True),
        ('roi_head.bbox_head.2.fc_cls.bias', True),
        ('head.weight', True),
        ('roi_head.mask_head.conv_logits.weight', True),
        ('bbox_head.rtm_cls.0.weight', True),
        ('bbox_head.cls_branches.5.bias', True),
        ('decode_head.bottleneck.conv.weight', False),
        ('rpn_head.rpn_cls.weight', False),
        ('neck.fpn_convs.0.conv.weight', False),
        ('norm.weight', False),
    ],
)
def test_final_layers(name, expected):
    assert is_final_layer(name) == expected
