import numpy as np

from convnext_dense.scenes.textures import Noise, bricks, gradient, hsv, striped, tiled, value_noise

X, Y = np.arange(30)[None] + 0.5, np.arange(20)[:, None] + 0.5
BLACK, WHITE = np.zeros(3), np.full(3, 255.0)


def test_hsv_is_periodic_in_hue():
    assert np.allclose(hsv(0, 1, 1), (255, 0, 0)) and np.allclose(hsv(-2 / 3, 1, 1), (0, 255, 0))


def test_value_noise_is_smooth_and_has_no_seam():
    noise = value_noise(np.random.default_rng(0), (60, 90), (20, 15))
    assert noise.shape == (60, 90) and -1 <= noise.min() < -0.5 and 0.5 < noise.max() <= 1
    for axis in (0, 1):
        inner, seam = (
            np.abs(np.diff(noise, axis=axis)).max(),
            np.abs(noise.take(0, axis) - noise.take(-1, axis)).max(),
        )
        assert seam <= inner


def test_grainy_varies_the_brightness_alone():
    colour = Noise(np.random.default_rng(0), (20, 30)).grainy(
        np.array([40.0, 80.0, 120.0]), fine=0.5
    )(X, Y)
    assert (
        np.allclose(colour / colour[..., :1], [1, 2, 3])
        and 20 <= colour[..., 0].min() < colour[..., 0].max() <= 60
    )


def test_mixed_goes_from_one_to_the_other():
    noise = Noise(np.random.default_rng(0), (20, 30))
    mixed = noise.mixed(BLACK, WHITE, 'leaf', threshold=0.0, softness=1e-6)(X, Y)[..., 0]
    assert set(np.unique(mixed)) == {0.0, 255.0}
    assert (noise.mixed(BLACK, WHITE, 'leaf', threshold=2.0)(X, Y) == 0).all()


def test_gradient_ends():
    colour = gradient(BLACK, WHITE, 0.5, 19.5)(X, Y)
    assert colour.shape == (20, 30, 3) and (colour[0] == 0).all() and (colour[-1] == 255).all()
    assert np.allclose(np.diff(colour[:, 0, 0]), 255 / 19)


def test_stripes_take_their_share():
    assert (striped(BLACK, WHITE, 10, 0.3)(X, Y)[..., 0] == 255).mean() == 0.3
    rows = striped(BLACK, WHITE, 10, 0.3, 'y')(X, Y)[..., 0]
    assert (rows[:3] == 255).all() and (rows[3:10] == 0).all()


def test_tiles_grow_towards_the_viewer():
    x, y = np.arange(400)[None] + 0.5, np.arange(200)[:, None] + 0.5
    joints = tiled(WHITE, BLACK, horizon=0, vanishing_x=0, size=0.3)(x, y)[..., 0] == 0
    between = [int(joints[row].sum()) for row in (60, 190)]
    assert between[0] > 2 * between[1] > 0


def test_every_second_course_of_bricks_is_shifted():
    wall = bricks(WHITE, BLACK, height=5, width=10)(X, Y)[..., 0]
    assert (
        (wall[0] == 0).all()
        and not np.array_equal(wall[2], wall[7])
        and np.array_equal(wall[2], wall[12])
    )
