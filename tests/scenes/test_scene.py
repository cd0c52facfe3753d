import zlib
from collections import Counter

import numpy as np
import pytest

from convnext_dense.data.ade20k_sample import SAMPLE, make_label_map
from convnext_dense.data.ade20k_sample import THINGS as SAMPLE_THINGS
from convnext_dense.scenes.scene import HEIGHTS, WIDTHS, draw_scene
from convnext_dense.scenes.things import THINGS

# CRC-32 of the ids of scenes 0-7 for each version of the sample.
CHECKSUMS = {1: 87652308}


@pytest.fixture(scope='module')
def sample():
    """The default sample: {split: [(scene, label map)]}."""
    scenes = {
        split: [draw_scene(0, split, index, SAMPLE_THINGS) for index in range(count)]
        for split, count in (('training', 64), ('validation', 16))
    }
    return {
        split: [(scene, make_label_map(scene)) for scene in drawn]
        for split, drawn in scenes.items()
    }


def test_the_same_arguments_give_the_same_scene():
    first, second = draw_scene(3, 'training', 5), draw_scene(3, 'training', 5)
    assert np.array_equal(first.image, second.image) and np.array_equal(first.ids, second.ids)
    assert first.regions == second.regions
    for other in (
        draw_scene(4, 'training', 5),
        draw_scene(3, 'validation', 5),
        draw_scene(3, 'training', 6),
    ):
        assert other.image.shape != first.image.shape or (other.image != first.image).mean() > 0.5


def test_labels_are_those_of_this_version_of_the_sample():
    """If this fails, the drawing has changed: raise the version and note the checksum."""
    checksum = 0
    for index in range(8):
        ids = draw_scene(0, 'training', index, SAMPLE_THINGS).ids
        checksum = zlib.crc32(np.ascontiguousarray(ids, dtype='<i4').tobytes(), checksum)
    assert checksum == CHECKSUMS[SAMPLE.version]


def test_picture_ids_and_regions_agree(sample):
    for scene, _ in sample['training']:
        assert scene.image.dtype == np.uint8 and scene.image.shape == (*scene.ids.shape, 3)
        assert scene.ids.shape[0] in HEIGHTS and scene.ids.shape[1] in WIDTHS
        assert [region.id for region in scene.regions] == np.unique(scene.ids).tolist()
        assert all(region.thing == (region.name in THINGS) for region in scene.regions)
        assert sum(scene.mask(region).sum() for region in scene.regions) == scene.ids.size
        assert scene.instances == tuple(region for region in scene.regions if region.thing)


def test_every_thing_can_be_drawn():
    seen = Counter(
        region.name
        for index in range(24)
        for region in draw_scene(0, 'validation', index).instances
    )
    assert set(seen) == set(THINGS)


def test_only_the_things_asked_for_are_drawn():
    names = {
        region.name
        for index in range(4)
        for region in draw_scene(0, 'training', index, ('dog',)).instances
    }
    assert names == {'dog'}
    assert not draw_scene(0, 'training', 0, ()).instances


def test_pictures_vary(sample):
    means = np.array([scene.image.mean() for scene, _ in sample['training']])
    assert means.std() > 10 and len({scene.ids.shape for scene, _ in sample['training']}) > 4


def test_outlines_show_in_the_picture():
    """Colours differ more between pixels of two regions than within a region."""
    jumps = {True: [], False: []}
    for index in range(6):
        scene = draw_scene(0, 'training', index)
        step = np.abs(np.diff(scene.image.astype(float), axis=1)).sum(-1)
        edge = np.diff(scene.ids, axis=1) != 0
        jumps[True].append(step[edge].mean())
        jumps[False].append(step[~edge].mean())
    assert np.mean(jumps[True]) > 2 * np.mean(jumps[False])


def test_every_class_has_a_fair_presence(sample):
    shares = {}
    for split in sample:
        counts = np.bincount(
            np.concatenate([label.ravel() for _, label in sample[split]]), minlength=151
        )
        shares[split] = counts / counts.sum()
    present = np.flatnonzero(shares['training'])
    assert len(present) >= 13 and present[0] == 0 and shares['training'][0] < 0.02
    assert shares['training'][present[1:]].min() > 0.01 and shares['training'].max() < 0.3
    assert shares['validation'][present[1:]].min() > 0.005


def test_colour_alone_does_not_solve_it(sample):
    """The best class for each of 16^3 colours stays far below the 60 mIoU of a network."""

    def pixels(split):
        colours = (
            np.concatenate([scene.image.reshape(-1, 3) for scene, _ in sample[split]]).astype(int)
            // 16
        )
        labels = np.concatenate([label.ravel() for _, label in sample[split]])
        return (colours @ (256, 16, 1))[labels > 0], labels[labels > 0]

    colour, label = pixels('training')
    votes = np.zeros((16**3, 151), dtype=int)
    np.add.at(votes, (colour, label), 1)
    colour, label = pixels('validation')
    guess = votes.argmax(1)[colour]
    iou = [
        ((guess == k) & (label == k)).sum() / ((guess == k) | (label == k)).sum()
        for k in np.unique(label)
    ]
    assert np.mean(iou) < 0.35


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(split='test'), "split must be one of .*got 'test'"),
        (dict(things=('person', 'unicorn')), r"things must be among .*got \['unicorn'\]"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        draw_scene(**{**dict(seed=0, split='training', index=0), **change})
