"""Pictures of objects: panels, masks in the colour of the class, boxes in their place."""

import numpy as np
import pytest

from convnext_dense.visualization.draw import Objects, draw_detection

PALETTE = [(255, 0, 0), (0, 0, 255)]
CLASSES = ('a', 'b')
TITLE_HEIGHT = 18
GAP = 6


@pytest.fixture
def image():
    return np.full((200, 480, 3), 100, dtype=np.uint8)


def make_object(label, has_mask=True, score=None):
    masks = None
    if has_mask:
        masks = np.zeros((1, 200, 480), dtype=bool)
        masks[0, 100:150, 200:300] = True
    return Objects(
        boxes=np.array([[200.0, 100.0, 300.0, 150.0]]),
        labels=np.array([label]),
        scores=None if score is None else np.array([score]),
        masks=masks,
    )


def split_panels(picture, width=480):
    """The panels below their titles."""
    pixels = np.asarray(picture)[TITLE_HEIGHT:]
    return [pixels[:, x : x + width] for x in range(0, pixels.shape[1], width + GAP)]


def test_panels_masks_and_boxes(image):
    picture = draw_detection(image, make_object(1, score=0.9), make_object(0), CLASSES, PALETTE)
    assert picture.size == (3 * 480 + 2 * GAP, TITLE_HEIGHT + 200)
    plain, truth, found = split_panels(picture)
    assert (plain == 100).all()
    # Inside of the mask: 55 % of the colour.
    assert truth[145, 290].tolist() == [185, 45, 45]
    assert found[145, 290].tolist() == [45, 45, 185]
    # The lower edge of the box.
    assert truth[150, 250].tolist() == [255, 0, 0]
    assert found[150, 250].tolist() == [0, 0, 255]
    # Outside of the box.
    assert (truth[160:] == 100).all() and (truth[:, 310:] == 100).all()


def test_without_truth_and_masks(image):
    prediction = make_object(1, has_mask=False, score=0.9)
    panels = split_panels(draw_detection(image, prediction, None, CLASSES, PALETTE))
    assert len(panels) == 2
    assert panels[1][145, 290].tolist() == [100, 100, 100]


def test_small_images_are_enlarged_with_their_boxes():
    image = np.full((50, 160, 3), 100, dtype=np.uint8)
    nothing = Objects(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0), np.zeros((0, 50, 160), bool))
    truth = Objects(np.array([[10.0, 20.0, 60.0, 40.0]]), np.array([0]))
    picture = draw_detection(image, nothing, truth, CLASSES, PALETTE)
    assert picture.size == (3 * 480 + 2 * GAP, TITLE_HEIGHT + 3 * 50)
    _, drawn_truth, drawn_prediction = split_panels(picture)
    assert drawn_truth[120, 100].tolist() == [255, 0, 0]
    assert (drawn_prediction == 100).all()
