"""Polygons and run lengths against pycocotools, on masks of every kind."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from convnext_dense.data.coco_masks import make_polygons, make_run_lengths, trace_outlines


def parse(*rows):
    return np.array([[character == '#' for character in row] for row in rows])


def decode(polygons, shape):
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, *shape))).astype(bool)


def test_a_corner_by_hand():
    (polygon,) = make_polygons(parse('....', '.##.', '.#..'))
    assert polygon == [3, 1, 3, 2, 2, 2, 2, 3, 1, 3, 1, 1]


def test_a_hole_is_reached_through_a_slit():
    mask = parse('####', '#..#', '####')
    outer, hole = trace_outlines(mask)
    assert outer.tolist() == [[4, 0], [4, 3], [0, 3], [0, 0]] and hole.tolist() == [
        [3, 2],
        [3, 1],
        [1, 1],
        [1, 2],
    ]
    (polygon,) = make_polygons(mask)
    assert len(polygon) == 2 * (4 + 1 + 4 + 1) and np.array_equal(
        decode([polygon], mask.shape), mask
    )


def test_pieces_that_touch_at_a_corner_are_two():
    assert len(make_polygons(parse('##..', '##..', '..##'))) == 2


def test_an_island_in_a_hole_is_its_own_piece():
    mask = parse('#######', '#.....#', '#.###.#', '#.#.#.#', '#.###.#', '#.....#', '#######')
    polygons = make_polygons(mask)
    assert len(polygons) == 2 and np.array_equal(decode(polygons, mask.shape), mask)


@pytest.mark.parametrize('share', [0.1, 0.5, 0.9])
def test_any_mask_comes_back_exactly(share):
    rng = np.random.default_rng(0)
    for shape in [(1, 1), (1, 9), (9, 1), *[(13, 17)] * 20]:
        mask = rng.random(shape) < share
        mask[0, 0] = True
        assert np.array_equal(decode(make_polygons(mask), shape), mask)
        lengths = make_run_lengths(mask)
        assert np.array_equal(
            coco_mask.decode(coco_mask.frPyObjects(lengths, *shape)).astype(bool), mask
        )
        assert lengths['counts'][0] == 0 and all(
            isinstance(count, int) for count in lengths['counts']
        )


def test_nothing():
    assert make_polygons(np.zeros((3, 4), bool)) == []
    assert make_run_lengths(np.zeros((3, 4), bool)) == dict(counts=[12], size=[3, 4])
