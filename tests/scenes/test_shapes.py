import numpy as np
import pytest

from convnext_dense.scenes.shapes import blob, box, ellipse_mask, limb, polygon_mask, ridge

SHAPE = (40, 50)


def full(shape_and_window):
    frame = np.zeros(SHAPE, dtype=bool)
    if shape_and_window is not None:
        mask, window = shape_and_window
        frame[window] = mask
    return frame


def is_inside(points, x, y):
    """Even-odd rule, one pixel at a time."""
    inside = False
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        if (y0 <= y) != (y1 <= y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            inside = not inside
    return inside


def test_box_holds_the_pixels_whose_centres_it_holds():
    expected = np.zeros(SHAPE, dtype=bool)
    expected[3:8, 5:12] = True
    assert np.array_equal(full(polygon_mask(box(5, 3, 12, 8), SHAPE)), expected)
    assert np.array_equal(full(polygon_mask(box(4.6, 2.6, 12.4, 8.4), SHAPE)), expected)


@pytest.mark.parametrize(
    'points',
    [
        [(2.2, 3.1), (30.7, 8.4), (11.3, 37.9)],  # triangle
        [(5, 5), (45, 6), (25, 20), (44, 35), (4, 33), (20, 20)],  # not convex
        [(5, 5), (45, 35), (45, 5), (5, 35)],  # crosses itself
        [(-20, 10), (25, -15), (80, 20), (25, 70)],  # larger than the frame
    ],
)
def test_polygon_equals_the_rule_pixel_by_pixel(points):
    expected = [
        [is_inside(points, x + 0.5, y + 0.5) for x in range(SHAPE[1])] for y in range(SHAPE[0])
    ]
    assert np.array_equal(full(polygon_mask(points, SHAPE)), expected)


@pytest.mark.parametrize(
    'edge',
    [
        [(31.3, 0), (12.7, 40)],
        [
            (31.3, 0),
            (20.5, 10.5),
            (30.5, 20.5),
            (12.5, 20.5),
            (12.7, 40),
        ],  # corners on the centres of pixels
    ],
)
def test_polygons_that_share_an_edge_neither_overlap_nor_leave_a_gap(edge):
    left = full(polygon_mask([(0, 0), *edge, (0, 40)], SHAPE))
    right = full(polygon_mask([(50, 0), *edge, (50, 40)], SHAPE))
    assert (left ^ right).all()


def test_ellipse():
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.5
    assert np.array_equal(
        full(ellipse_mask(20.3, 18.8, 15, 9, SHAPE)),
        ((x - 20.3) / 15) ** 2 + ((y - 18.8) / 9) ** 2 <= 1,
    )


@pytest.mark.parametrize('x, y', [(-30, 10), (90, 10), (10, -30), (10, 90)])
def test_outside_of_the_frame_is_none(x, y):
    assert polygon_mask(box(x - 5, y - 5, x + 5, y + 5), SHAPE) is None
    assert ellipse_mask(x, y, 5, 5, SHAPE) is None


def test_limb_is_as_long_and_thick_as_asked():
    assert np.allclose(limb((10, 10), (10, 30), 4, 2), [(8, 10), (9, 30), (11, 30), (12, 10)])


def test_blob_stays_within_its_roughness():
    points = blob(np.random.default_rng(0), 20, 10, 8, 4, 0.2)
    radius = np.hypot((points[:, 0] - 20) / 8, (points[:, 1] - 10) / 4)
    assert 0.8 <= radius.min() < 0.95 and 1.05 < radius.max() <= 1.2


def test_ridge_spans_zero_to_one():
    heights = ridge(np.random.default_rng(0), 300)
    assert heights.shape == (300,) and heights.min() == 0 and heights.max() == 1
