"""Pictures of objects: panels, masks in the class's colour, boxes at their place."""

import numpy as np

from convnext_dense.visualization.draw import Objects, draw_detection

PALETTE = [(255, 0, 0), (0, 0, 255)]


def make(label, masks=True, scores=None):
    mask = np.zeros((1, 200, 480), dtype=bool)
    mask[0, 100:150, 200:300] = True
    return Objects(
        np.array([[200.0, 100.0, 300.0, 150.0]]), np.array([label]), scores, mask if masks else None
    )


def test_panels_masks_and_boxes():
    image = np.full((200, 480, 3), 100, dtype=np.uint8)
    picture = np.asarray(
        draw_detection(image, make(1, scores=np.array([0.9])), make(0), ('a', 'b'), PALETTE)
    )
    assert picture.shape == (18 + 200, 3 * 480 + 2 * 6, 3)
    plain, truth, found = (picture[18:, i * 486 : i * 486 + 480] for i in range(3))
    assert (plain == 100).all()
    assert truth[145, 290].tolist() == [185, 45, 45] and found[145, 290].tolist() == [
        45,
        45,
        185,
    ]  # 55 % of the colour
    assert truth[150, 250].tolist() == [255, 0, 0] and found[150, 250].tolist() == [
        0,
        0,
        255,
    ]  # lower edge of the box
    assert (truth[160:] == 100).all() and (truth[:, 310:] == 100).all()


def test_without_truth_and_masks():
    image = np.full((200, 480, 3), 100, dtype=np.uint8)
    picture = np.asarray(
        draw_detection(
            image, make(1, masks=False, scores=np.array([0.9])), None, ('a', 'b'), PALETTE
        )
    )
    assert picture.shape[1] == 2 * 480 + 6 and picture[18 + 145, 486 + 290].tolist() == [
        100,
        100,
        100,
    ]


def test_small_images_are_enlarged_with_their_boxes():
    nothing = Objects(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0), np.zeros((0, 50, 160), bool))
    one = Objects(np.array([[10.0, 20.0, 60.0, 40.0]]), np.array([0]))
    picture = np.asarray(
        draw_detection(np.full((50, 160, 3), 100, np.uint8), nothing, one, ('a', 'b'), PALETTE)
    )
    assert picture.shape == (18 + 150, 3 * 480 + 12, 3)
    assert (
        picture[18 + 120, 486 + 100].tolist() == [255, 0, 0]
        and (picture[18:, 2 * 486 :] == 100).all()
    )
