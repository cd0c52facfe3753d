"""Folders of images: labels, timm's transforms, and random numbers by seed, epoch and index."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data import auto_augment
from timm.data import transforms as timm_transforms
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder as TorchvisionImageFolder

from convnext_dense.data import RECORDS
from convnext_dense.datasets import ImageFolder, SeedingSampler
from convnext_dense.registry import DATASETS

TRAIN = dict(
    input_size=64, is_training=True, auto_augment='rand-m9-mstd0.5-inc1', interpolation='bicubic'
)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'imagenet'
    RECORDS['imagenet'].sample.write(root, num_train=20, num_val=10)
    return root


def test_labels_are_torchvisions(root):
    ours = DATASETS.build(
        dict(type='convnext_dense.ImageNet', data_root=str(root), split='train', transform=TRAIN)
    )
    theirs = TorchvisionImageFolder(root / 'train')
    assert [(ours[i]['img_path'], ours[i]['gt_label']) for i in range(20)] == theirs.samples
    assert (
        list(ours.metainfo['wnids']) == theirs.classes and ours.metainfo['classes'][0] == 'person'
    )
    assert ours[3]['inputs'].shape == (3, 64, 64) and ours[3]['inputs'].dtype == torch.uint8


@pytest.mark.parametrize(
    ('ours', 'theirs'),
    [
        (
            dict(input_size=56, interpolation='bicubic', crop_pct=0.875, crop_mode='center'),
            [
                transforms.Resize(64, transforms.InterpolationMode.BICUBIC),
                transforms.CenterCrop(56),
            ],
        ),
        (
            dict(input_size=96, interpolation='bicubic', crop_pct=1.0, crop_mode='squash'),
            [transforms.Resize((96, 96), transforms.InterpolationMode.BICUBIC)],
        ),
    ],
    ids=['crop', 'warp'],
)
def test_evaluation_is_the_authors(root, ours, theirs):
    dataset = ImageFolder(root, 'val', ours)
    expected = transforms.Compose([*theirs, transforms.PILToTensor()])
    for item in (dataset[i] for i in range(10)):
        assert torch.equal(item['inputs'], expected(Image.open(item['img_path']).convert('RGB')))


def test_training_is_the_authors(root):
    crop, flip, augment, _ = ImageFolder(root, 'train', TRAIN).transform.transforms
    assert isinstance(crop, timm_transforms.RandomResizedCropAndInterpolation) and crop.scale == (
        0.08,
        1.0,
    )
    assert crop.interpolation == transforms.InterpolationMode.BICUBIC and flip.p == 0.5
    assert isinstance(augment, auto_augment.RandAugment) and augment.num_layers == 2
    assert {(op.magnitude, op.magnitude_std) for op in augment.ops} == {(9, 0.5)}


def test_a_broken_image_is_named(tmp_path):
    RECORDS['imagenet'].sample.write(tmp_path / 'imagenet', num_train=1, num_val=1)
    (path,) = (tmp_path / 'imagenet' / 'train').rglob('*.JPEG')
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(OSError, match=f'{path.name} cannot be read .*truncated'):
        ImageFolder(tmp_path / 'imagenet', 'train', TRAIN)[0]


def test_indices(root):
    assert [ImageFolder(root, 'train', TRAIN, indices=5)[i]['gt_label'] for i in range(5)] == [
        0,
        2,
        5,
        7,
        9,
    ]
    assert ImageFolder(root, 'train', TRAIN, indices=[4, 1])[0]['gt_label'] == 2
    assert len(ImageFolder(root, 'train', TRAIN, indices=100)) == 20


def load_epoch(root, epoch, num_workers=0, seed=5):
    dataset = ImageFolder(root, 'train', TRAIN)
    sampler = SeedingSampler(dataset, shuffle=True, seed=seed)
    sampler.set_epoch(epoch)
    random.seed(num_workers), np.random.seed(num_workers), torch.manual_seed(num_workers)
    return torch.cat(
        [
            batch['inputs']
            for batch in DataLoader(dataset, 5, sampler=sampler, num_workers=num_workers)
        ]
    )


def test_pictures_depend_on_seed_epoch_and_index_alone(root):
    first = load_epoch(root, 0)
    assert torch.equal(first, load_epoch(root, 0, num_workers=2))
    assert not torch.equal(first, load_epoch(root, 1)) and not torch.equal(
        first, load_epoch(root, 0, seed=6)
    )
    sampler, seeds = SeedingSampler(range(20), seed=5), {}
    for epoch in range(2):
        sampler.set_epoch(epoch)
        seeds |= {(epoch, index): seed for index, seed in sampler}
    assert len(seeds) == len(set(seeds.values())) == 40


def test_reading_leaves_the_random_numbers_alone(root):
    dataset = ImageFolder(root, 'train', TRAIN)
    numbers = []
    for read in (False, True):
        random.seed(0), np.random.seed(0), torch.manual_seed(0)
        if read:
            dataset[3, 17]
        numbers.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert numbers[0] == numbers[1]
    assert torch.equal(dataset[3, 17]['inputs'], dataset[3, 17]['inputs'])
    assert not torch.equal(dataset[3, 17]['inputs'], dataset[3, 18]['inputs'])
