"""Pictures of single things: repeatable, varied, and too hard for a linear classifier."""

import numpy as np
import pytest
import torch
from PIL import Image

from convnext_dense.scenes.single_object import EXTENTS, draw_object


def test_same_arguments_same_picture():
    first = draw_object('dog', 1, 'training', 2)
    assert (
        first.dtype == np.uint8
        and first.shape[2] == 3
        and all(72 <= side <= 96 for side in first.shape[:2])
    )
    assert np.array_equal(first, draw_object('dog', 1, 'training', 2))
    for other in (
        ('dog', 2, 'training', 2),
        ('dog', 1, 'validation', 2),
        ('dog', 1, 'training', 3),
    ):
        other = draw_object(*other)
        assert other.shape != first.shape or (other != first).mean() > 0.5


@pytest.mark.parametrize('args', [('boat', 0, 'training', 0), ('dog', 0, 'train', 0)])
def test_bad_arguments(args):
    with pytest.raises(ValueError, match='kind must be one of'):
        draw_object(*args)


def read(split, count, side=16):
    images = [
        Image.fromarray(draw_object(kind, 0, split, i)).resize(
            (side, side), Image.Resampling.BILINEAR
        )
        for kind in EXTENTS
        for i in range(count)
    ]
    pixels = torch.from_numpy(np.stack(images)).double().flatten(1) / 255 - 0.5
    return torch.cat([pixels, torch.ones(len(pixels), 1)], 1), torch.arange(
        len(EXTENTS)
    ).repeat_interleave(count)


@pytest.mark.parametrize(
    'counts', [(40, 12), pytest.param((128, 32), marks=pytest.mark.slow)], ids=['part', 'sample']
)
def test_a_linear_classifier_on_pixels_stays_under_60_percent(counts):
    (pixels, labels), (val_pixels, val_labels) = (
        read('training', counts[0]),
        read('validation', counts[1]),
    )
    targets = torch.nn.functional.one_hot(labels).double()
    for strength in (1.0, 10.0, 100.0):  # ridge regression, the best of three
        weights = torch.linalg.solve(
            pixels.T @ pixels + strength * torch.eye(pixels.shape[1]), pixels.T @ targets
        )
        accuracy = ((val_pixels @ weights).argmax(1) == val_labels).double().mean().item()
        assert 0.12 < accuracy < 0.6  # better than chance, so it does learn, and far from knowing
