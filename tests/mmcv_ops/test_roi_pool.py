"""RoIPool against a slow loop over the kernel's definition, and by hand."""

import math

import mmcv._ext as ext
import pytest
import torch
from mmcv.ops import RoIPool, roi_pool

ROIS = torch.tensor(
    [
        [0.0, 1.3, 2.1, 17.7, 9.2],
        [1.0, -6.0, -9.0, 5.0, 4.0],  # partly off the map
        [1.0, 8.0, 8.0, 60.0, 50.0],  # larger than the map
        [0.0, 5.0, 5.0, 5.4, 5.2],  # smaller than a pixel
        [0.0, 300.0, 300.0, 320.0, 310.0],  # off the map, below
        [1.0, -90.0, -90.0, -60.0, -70.0],
    ]
)  # off the map, above


def loop_roi_pool(features, rois, size, scale):
    outputs = []
    height, width = features.shape[2:]
    for roi in rois.tolist():
        x1 = roi[1] * scale
        y1 = roi[2] * scale
        x2 = (roi[3] + 1) * scale
        y2 = (roi[4] + 1) * scale
        step_y = (y2 - y1) / size[0]
        step_x = (x2 - x1) / size[1]
        for plane in features[int(roi[0])]:
            for p in range(size[0]):
                for q in range(size[1]):
                    rows = range(
                        max(math.floor(p * step_y + y1), 0),
                        min(math.ceil((p + 1) * step_y + y1), height),
                    )
                    columns = range(
                        max(math.floor(q * step_x + x1), 0),
                        min(math.ceil((q + 1) * step_x + x1), width),
                    )
                    pixels = [plane[y, x] for y in rows for x in columns]
                    outputs.append(torch.stack(pixels).max() if pixels else plane.new_zeros(()))
    return torch.stack(outputs).view(len(rois), -1, *size)


@pytest.mark.parametrize('scale', [1.0, 0.5, 0.3])
def test_equals_a_loop_forward_and_backward(scale):
    x = torch.randn(2, 2, 9, 11, dtype=torch.float64, requires_grad=True)
    output = roi_pool(x, ROIS.double(), (2, 3), scale)
    expected = loop_roi_pool(x, ROIS, (2, 3), scale)
    torch.testing.assert_close(output, expected)
    weight = torch.randn_like(output)
    grads = (torch.autograd.grad((values * weight).sum(), x)[0] for values in (output, expected))
    torch.testing.assert_close(*grads)


def test_gradcheck():
    x = torch.randn(2, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: roi_pool(x, ROIS.double(), (2, 2), 0.5), x)


def test_by_hand_with_the_place_of_the_first_maximum():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    x[0, 0, 3, 2] = 15.0  # as large as the last pixel
    assert RoIPool(2)(x, torch.tensor([[0.0, 0.0, 0.0, 3.0, 3.0]])).flatten().tolist() == [
        5.0,
        7.0,
        13.0,
        15.0,
    ]
    output = torch.zeros(1, 1, 1, 1)
    place = torch.zeros(1, 1, 1, 1, dtype=torch.int)
    ext.roi_pool_forward(x, torch.tensor([[0.0, 0.0, 0.0, 3.0, 3.0]]), output, place, 1, 1, 1.0)
    assert (output.item(), place.item()) == (15.0, 14)


def test_a_malformed_roi_is_left_as_it_is():
    x = torch.randn(1, 1, 4, 4)
    output = torch.full((1, 1, 2, 2), 7.0)
    place = torch.full((1, 1, 2, 2), 3, dtype=torch.int)
    ext.roi_pool_forward(x, torch.tensor([[0.0, 3.0, 3.0, 1.0, 1.0]]), output, place, 2, 2, 1.0)
    assert output.eq(7).all() and place.eq(3).all()


def test_no_rois_and_reduced_precision():
    x = torch.randn(2, 2, 9, 11).bfloat16().requires_grad_()
    assert roi_pool(x, torch.zeros(0, 5).bfloat16(), 2, 1.0).shape == (0, 2, 2, 2)
    rois = ROIS.round().bfloat16()
    output = roi_pool(x, rois, 2, 0.5)
    assert torch.equal(output, roi_pool(x.float(), rois.float(), 2, 0.5).bfloat16())
    output.sum().backward()
    assert x.grad.sum() == (output != 0).sum()


def test_bad_input():
    x = torch.randn(1, 2, 8, 8)
    for index in (1.0, -1.0):
        with pytest.raises(IndexError, match=r'in 0\.\.0'):
            roi_pool(x, torch.tensor([[index, 2.0, 2.0, 4.0, 4.0]]), 3, 1.0)
    with pytest.raises(ValueError, match=r'rois must be \(R, 5\)'):
        ext.roi_pool_forward(
            x, torch.zeros(1, 4), torch.zeros(1, 2, 3, 3), torch.zeros(1, 2, 3, 3).int(), 3, 3, 1.0
        )
