"""The classifier: against the authors and timm; modes, strict loading, layer decay, DDP."""

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.structures import BaseDataElement

from convnext_dense.models import ConvNeXt, ConvNeXtClassifier
from convnext_dense.registry import MODELS
from convnext_dense.variants import VARIANTS

GOLDEN = Path(__file__).parents[1] / 'golden'
SHAPE = dict(depths=(2, 2, 3, 2), dims=(8, 16, 32, 64))
SMALL = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))
LARGE = {
    'large',
    'xlarge',
    'xxlarge',
    'v2_large',
    'v2_huge',
    'base',
    'v2_base',
    'small',
    'v2_small',
}
RULES = [
    (r'^stem\.0', 'downsample_layers.0.0'),
    (r'^stem\.1', 'downsample_layers.0.1'),
    (r'^head\.norm', 'norm'),
    (r'^stages\.(\d+)\.downsample', r'downsample_layers.\1'),
    (r'^stages\.(\d+)\.blocks', r'stages.\1'),
    (r'conv_dw', 'dwconv'),
    (r'mlp\.grn\.weight', 'grn.gamma'),
    (r'mlp\.grn\.bias', 'grn.beta'),
    (r'mlp\.fc', 'pwconv'),
    (r'^head\.fc', 'head'),
]


def relative_error(actual, expected):
    return ((actual - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(('name', 'use_grn'), [('v1', False), ('v2', True)])
def test_equals_the_authors(name, use_grn):
    with np.load(GOLDEN / f'convnext_{name}_classifier.npz') as file:
        golden = {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}
    model = ConvNeXtClassifier(SHAPE | dict(use_grn=use_grn), num_classes=5)
    model.load_state_dict(
        {k.removeprefix('param/'): v for k, v in golden.items() if k.startswith('param/')}
    )
    assert relative_error(model(golden['input']), golden['output0']) < 1e-5
    for i, output in enumerate(model(golden['input'], output='maps') if use_grn else (), start=1):
        assert relative_error(output, golden[f'output{i}']) < 1e-5


def make_pair(arch):
    """A network of timm with random weights, ours with the same weights, and {its name: ours}."""
    name = f'convnextv2_{arch[3:]}' if arch.startswith('v2_') else f'convnext_{arch}'
    theirs = timm.create_model(name, num_classes=7)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        # The initial gammas of 1e-6 and the zeros of GRN would hide the branch.
        for parameter in theirs.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1:
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
            else:
                parameter.copy_(noise * 0.1 + 0.5)
    names = {}
    for name in theirs.state_dict():
        names[name] = name
        for pattern, replacement in RULES:
            names[name] = re.sub(pattern, replacement, names[name])
    ours = ConvNeXtClassifier(arch, num_classes=7)
    own = ours.state_dict()
    ours.load_state_dict(
        {names[k]: v.reshape(own[names[k]].shape) for k, v in theirs.state_dict().items()}
    )
    return theirs.eval(), ours.eval(), names


def assert_logits_equal_timm(arch):
    theirs, ours, _ = make_pair(arch)
    image = torch.randn(2, 3, 64, 43, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        assert relative_error(ours(image), theirs(image)) < 1e-5
        features = theirs.forward_head(theirs.forward_features(image), pre_logits=True)
        assert relative_error(ours(image, output='pre_logits'), features) < 1e-5


@pytest.mark.parametrize('arch', sorted(VARIANTS.keys() - LARGE))
def test_equals_timm(arch):
    assert_logits_equal_timm(arch)


@pytest.mark.slow
@pytest.mark.parametrize('arch', sorted(LARGE))
def test_large_equals_timm(arch):
    assert_logits_equal_timm(arch)


@pytest.mark.parametrize('arch', ['atto', 'v2_atto'])
def test_every_gradient_equals_timm(arch):
    theirs, ours, names = make_pair(arch)
    image = torch.randn(2, 3, 64, 64)
    labels = torch.tensor([3, 6])
    torch.nn.functional.cross_entropy(theirs(image), labels).backward()
    ours(image, labels, mode='loss')['loss'].backward()
    mine = dict(ours.named_parameters())
    for name, parameter in theirs.named_parameters():
        gradient = mine[names[name]].grad
        assert relative_error(gradient, parameter.grad.reshape(gradient.shape)) < 2e-4, name


def test_names_are_the_authors():
    model = MODELS.build(dict(type='convnext_dense.ConvNeXtClassifier', arch=SMALL, num_classes=5))
    trunk = {k for k in ConvNeXt(SMALL).state_dict() if not k.startswith('norm')}
    assert model.state_dict().keys() == trunk | {
        'norm.weight',
        'norm.bias',
        'head.weight',
        'head.bias',
    }
    assert model.head.weight.shape == (5, 32)


def test_head_init_scale():
    torch.manual_seed(1)
    unscaled = ConvNeXtClassifier(SMALL)
    torch.manual_seed(1)
    scaled = ConvNeXtClassifier(SMALL, head_init_scale=1e-3)
    torch.testing.assert_close(scaled.head.weight, unscaled.head.weight * 1e-3)
    assert unscaled.head.weight.std().item() == pytest.approx(0.02, rel=0.15)
    assert not unscaled.head.bias.any()


def test_modes():
    model = ConvNeXtClassifier(SMALL, num_classes=5).eval()
    images = torch.randn(2, 3, 64, 64)
    logits = model(images)
    soft = torch.tensor([[0.1, 0.6, 0.1, 0.1, 0.1], [0, 0, 1.0, 0, 0]])
    expected = -(soft * logits.log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(model(images, soft, mode='loss')['loss'], expected)
    samples = model(
        images, [BaseDataElement(gt_label=1), BaseDataElement(gt_label=2)], mode='predict'
    )
    torch.testing.assert_close(samples[1].pred_scores, logits[1].softmax(0))
    assert [sample.pred_label.item() for sample in samples] == logits.argmax(1).tolist()
    assert samples[0].gt_label == 1
    assert len(model(images, mode='predict')) == 2
    features = model(images, output='pre_logits')
    torch.testing.assert_close(model.head(features), logits)
    assert [m.shape[1] for m in model(images, output='maps')] == list(SMALL['dims'])


def test_dropout_acts_only_during_training():
    model = ConvNeXtClassifier(SMALL, dropout=0.5)
    images = torch.randn(2, 3, 64, 64)
    assert (model(images) != model(images)).any()
    model.eval()
    torch.testing.assert_close(model(images), model(images), rtol=0, atol=0)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [(dict(num_classes=0), 'positive integer'), (dict(dropout=1.0), r'in \[0, 1\)')],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ConvNeXtClassifier(SMALL, **kwargs)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(mode='train'), 'mode must be'),
        (dict(output='map'), 'output must be'),
        (dict(mode='loss'), 'labels'),
        (dict(mode='predict', output='maps'), 'unless mode'),
    ],
)
def test_bad_calls(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ConvNeXtClassifier(SMALL, num_classes=5)(torch.randn(1, 3, 64, 64), **kwargs)


def test_frozen_stages_leave_norm_and_head():
    model = ConvNeXtClassifier(SMALL, frozen_stages=4)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        'norm.weight',
        'norm.bias',
        'head.weight',
        'head.bias',
    }


def test_layer_decay_has_norm_and_head_in_the_last_group():
    model = ConvNeXtClassifier('tiny', num_classes=5)
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.05),
            constructor='convnext_dense.LayerDecayOptimWrapperConstructor',
            paramwise_cfg=dict(decay_rate=0.8),
        ),
    )
    groups = wrapper.optimizer.param_groups
    last = {
        name: group['lr']
        for group in groups
        for name in group['param_names']
        if group['layer_id'] == 7
    }
    assert last == {'norm.weight': 1.0, 'norm.bias': 1.0, 'head.weight': 1.0, 'head.bias': 1.0}
    assert min(group['lr'] for group in groups) == pytest.approx(0.8**7)  # the stem


def test_starts_from_another_classifier(tmp_path):
    source = ConvNeXtClassifier(SMALL, num_classes=9)
    torch.nn.init.uniform_(source.norm.weight)
    torch.save(dict(model=source.state_dict()), tmp_path / 'c.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'c.pth'))
    same = ConvNeXtClassifier(SMALL, num_classes=9, init_cfg=init_cfg)
    same.init_weights()
    assert all(
        torch.equal(value, same.state_dict()[name]) for name, value in source.state_dict().items()
    )
    other = ConvNeXtClassifier(SMALL, num_classes=4, init_cfg=init_cfg)
    before = other.head.weight.clone()
    other.init_weights()
    assert torch.equal(other.norm.weight, source.norm.weight)
    assert torch.equal(other.head.weight, before)
    backbone = ConvNeXt(SMALL, init_cfg=init_cfg)
    backbone.init_weights()
    assert torch.equal(backbone.stages[3][0].pwconv1.weight, source.stages[3][0].pwconv1.weight)


@pytest.mark.parametrize('with_cp', [False, True], ids=['without_cp', 'with_cp'])
def test_ddp_has_no_unused_parameter(with_cp):
    with tempfile.TemporaryDirectory() as folder:
        torch.distributed.init_process_group(
            'gloo', init_method=f'file://{folder}/store', rank=0, world_size=1
        )
        try:
            model = torch.nn.parallel.DistributedDataParallel(
                ConvNeXtClassifier(SMALL, num_classes=3, with_cp=with_cp)
            )
            for _ in range(2):  # an unused parameter is reported at the second step
                model(torch.randn(2, 3, 64, 64), torch.tensor([0, 2]), mode='loss')[
                    'loss'
                ].backward()
            assert all(p.grad is not None for p in model.parameters())
        finally:
            torch.distributed.destroy_process_group()
