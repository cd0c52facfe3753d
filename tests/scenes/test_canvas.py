import numpy as np
import pytest

from convnext_dense.scenes.camera import LIGHTS, photograph, sky_colours
from convnext_dense.scenes.canvas import Canvas

RED, BLUE = np.array([200.0, 0.0, 0.0]), np.array([0.0, 0.0, 200.0])


@pytest.fixture
def canvas():
    return Canvas(20, 30, np.random.default_rng(0))


def test_what_is_painted_later_hides_what_was_painted_before(canvas):
    assert canvas.begin('sea') == 1
    canvas.box(0, 0, 30, 20, RED)
    assert canvas.begin('person', thing=True) == 2
    canvas.box(5, 5, 15, 10, BLUE)
    assert (
        (canvas.ids[5:10, 5:15] == 2).all()
        and (canvas.ids == 2).sum() == 50
        and (canvas.ids == 1).sum() == 550
    )
    assert np.array_equal(canvas.image[..., 2] > 0, canvas.ids == 2)
    assert canvas.regions == [('sea', False), ('person', True)]


def test_shadows_change_the_picture_and_no_region(canvas):
    canvas.begin('sand')
    canvas.box(0, 0, 30, 20, RED)
    before = canvas.ids.copy()
    canvas.shadow(15, 10, 8, 4, strength=0.5)
    assert np.array_equal(canvas.ids, before) and set(np.unique(canvas.image[..., 0])) == {
        100.0,
        200.0,
    }


def test_textures_are_asked_for_the_pixels_of_the_shape(canvas):
    canvas.begin('road')
    canvas.box(10, 5, 20, 15, lambda x, y: np.stack(np.broadcast_arrays(x, y, 0 * x), axis=-1))
    assert canvas.image[7, 12].tolist() == [12.5, 7.5, 0]


@pytest.mark.parametrize('name', LIGHTS)
def test_photograph(name):
    rng, picture = np.random.default_rng(0), np.full((40, 50, 3), 120.0)
    top, bottom = sky_colours(LIGHTS[name], rng)
    assert top.shape == bottom.shape == (3,) and min(top.min(), bottom.min()) >= 0
    photo = photograph(picture, LIGHTS[name], rng)
    assert photo.shape == picture.shape and photo.dtype == np.uint8
    ratio = photo.mean((0, 1)) / 120 / np.array(LIGHTS[name].gain)
    assert (
        (ratio > 0.82 * 0.95 * 0.9).all()
        and (ratio < 1.15 * 1.05 * 1.01).all()
        and photo[15:25, 20:30].std() > 1
    )
