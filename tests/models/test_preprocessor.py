"""Batches for the classifier: against torchvision and timm."""

import random

import numpy as np
import pytest
import torch
from timm.data import Mixup
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torchvision.transforms import functional as F

from convnext_dense.models import ClassificationDataPreprocessor, ConvNeXtClassifier
from convnext_dense.registry import MODELS

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
MIXUP = dict(mixup_alpha=0.8, cutmix_alpha=1.0, prob=1.0, switch_prob=0.5)


def make_batch(count=4):
    return dict(
        inputs=torch.randint(0, 256, (count, 3, 32, 40), dtype=torch.uint8),
        gt_label=torch.arange(count) % 3,
        img_path=[f'{i}.png' for i in range(count)],
    )


def test_normalization_equals_torchvision():
    batch = make_batch()
    out = ClassificationDataPreprocessor(3)(batch)
    expected = F.normalize(batch['inputs'].float() / 255, MEAN, STD)
    torch.testing.assert_close(out['inputs'], expected, atol=1e-5, rtol=1e-5)
    assert [s.img_path for s in out['data_samples']] == batch['img_path']
    assert [s.gt_label.item() for s in out['data_samples']] == [0, 1, 2, 0]


def test_lists_and_images_without_labels():
    batch = make_batch(2)
    out = ClassificationDataPreprocessor(3)(
        dict(inputs=list(batch['inputs']), gt_label=[1, 2]), training=True
    )
    assert out['inputs'].shape == (2, 3, 32, 40)
    assert out['data_samples'].argmax(1).tolist() == [1, 2]
    alone = ClassificationDataPreprocessor(3)(dict(inputs=batch['inputs']))
    assert 'gt_label' not in alone['data_samples'][0]


@pytest.mark.parametrize('seed', range(4))  # some mix, some cut
def test_mixup_equals_timm(seed):
    batch = make_batch()
    without_mixup = ClassificationDataPreprocessor(3)
    np.random.seed(seed)
    out = ClassificationDataPreprocessor(3, mixup=MIXUP, label_smoothing=0.2)(batch, training=True)
    np.random.seed(seed)
    timms = Mixup(**MIXUP, label_smoothing=0.2, num_classes=3)
    images, targets = timms(without_mixup(batch)['inputs'].clone(), batch['gt_label'])
    torch.testing.assert_close(out['inputs'], images, rtol=0, atol=0)
    torch.testing.assert_close(out['data_samples'], targets, rtol=0, atol=0)
    torch.testing.assert_close(out['data_samples'].sum(1), torch.ones(4))


def test_losses_equal_timm():
    logits = torch.randn(4, 3)
    labels = torch.tensor([0, 1, 2, 0])
    smoothed = ClassificationDataPreprocessor(3, label_smoothing=0.1)(make_batch(), training=True)[
        'data_samples'
    ]
    loss = torch.nn.functional.cross_entropy(logits, smoothed)
    torch.testing.assert_close(loss, LabelSmoothingCrossEntropy(0.1)(logits, labels))
    torch.testing.assert_close(loss, SoftTargetCrossEntropy()(logits, smoothed))


def test_random_erasing_puts_noise_into_a_rectangle():
    random.seed(1)
    batch = make_batch()
    expected = ClassificationDataPreprocessor(3)(batch, training=True)['inputs']
    out = ClassificationDataPreprocessor(3, random_erasing=dict(probability=1.0, mode='pixel'))(
        batch, training=True
    )
    for before, after in zip(expected, out['inputs'], strict=True):
        rows, columns = np.nonzero((before != after).any(0).numpy())
        area = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert len(rows) == area and 0.02 * 0.8 < area / (32 * 40) < 1 / 3 * 1.2


def test_evaluation_erases_nothing():
    batch = make_batch()
    expected = ClassificationDataPreprocessor(3)(batch)['inputs']
    preprocessor = ClassificationDataPreprocessor(3, random_erasing=dict(probability=1.0))
    torch.testing.assert_close(preprocessor(batch)['inputs'], expected)


def test_bad_batches_raise():
    with pytest.raises(ValueError, match='must be even, got 3'):
        ClassificationDataPreprocessor(3, mixup=MIXUP)(make_batch(3), training=True)
    with pytest.raises(ValueError, match=r'labels must be in 0\.\.1, .* got 0\.\.2'):
        ClassificationDataPreprocessor(2)(make_batch())
    with pytest.raises(ValueError, match='label_smoothing'):
        ClassificationDataPreprocessor(3, label_smoothing=1.0)
    with pytest.raises(ValueError, match="needs 'gt_label'"):
        ClassificationDataPreprocessor(3)(dict(inputs=make_batch()['inputs']), training=True)


def test_the_classifier_builds_it_for_its_classes():
    arch = dict(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8))
    model = ConvNeXtClassifier(arch, num_classes=3, data_preprocessor=dict(mixup=MIXUP))
    assert model.data_preprocessor.num_classes == model.data_preprocessor.mixup.num_classes == 3
    given = MODELS.build(dict(type='convnext_dense.ClassificationDataPreprocessor', num_classes=8))
    assert ConvNeXtClassifier(arch, data_preprocessor=given).data_preprocessor is given
    assert not any(name.startswith('data_preprocessor') for name in model.state_dict())
