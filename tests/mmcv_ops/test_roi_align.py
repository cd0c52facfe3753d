"""RoIAlign, average and maximum: against compiled mmcv, a slow loop, closed forms, gradcheck."""

import math

import mmcv._ext as ext
import pytest
import torch
from mmcv.ops import RoIAlign, roi_align

ROIS = torch.tensor(
    [
        [0.0, 1.3, 2.1, 17.7, 9.2],
        [1.0, -6.0, -9.0, 5.0, 4.0],  # partly off the map
        [1.0, 8.0, 8.0, 60.0, 50.0],  # larger than the map
        [0.0, 5.0, 5.0, 5.4, 5.2],  # smaller than a pixel
        [1.0, 7.0, 3.0, 7.0, 3.0],  # empty
        [0.0, 300.0, 300.0, 320.0, 310.0],  # off the map
    ]
)


def bilinear(plane, y, x):
    """Sample of ``plane`` (H, W): up to a pixel off the map the value of the border, then 0."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return plane.new_zeros(())
    y = min(max(y, 0), height - 1)
    x = min(max(x, 0), width - 1)
    y0 = int(y)
    x0 = int(x)
    y1 = min(y0 + 1, height - 1)
    x1 = min(x0 + 1, width - 1)
    top = plane[y0, x0] * (1 - (x - x0)) + plane[y0, x1] * (x - x0)
    bottom = plane[y1, x0] * (1 - (x - x0)) + plane[y1, x1] * (x - x0)
    return top * (1 - (y - y0)) + bottom * (y - y0)


def loop_roi_align(features, rois, size, scale, sampling_ratio, pool_mode, aligned):
    outputs = []
    for roi in rois.tolist():
        x1, y1, x2, y2 = (value * scale - (0.5 if aligned else 0) for value in roi[1:])
        sides = (y2 - y1, x2 - x1) if aligned else (max(y2 - y1, 1), max(x2 - x1, 1))
        grid = [
            sampling_ratio or math.ceil(side / count)
            for side, count in zip(sides, size, strict=True)
        ]
        for plane in features[int(roi[0])]:
            for p in range(size[0]):
                for q in range(size[1]):
                    samples = [
                        bilinear(
                            plane,
                            y1 + (p + (i + 0.5) / grid[0]) * sides[0] / size[0],
                            x1 + (q + (j + 0.5) / grid[1]) * sides[1] / size[1],
                        )
                        for i in range(grid[0])
                        for j in range(grid[1])
                    ]
                    empty = plane.new_tensor(0.0 if pool_mode == 'avg' else -10000.0)
                    reduce = torch.mean if pool_mode == 'avg' else torch.max
                    outputs.append(reduce(torch.stack(samples)) if samples else empty)
    return torch.stack(outputs).view(len(rois), -1, *size)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_equals_compiled(golden, aligned, sampling_ratio):
    x = golden['roi/x'].clone().requires_grad_()
    case = f'aligned{aligned:d}_sr{sampling_ratio}'
    output = RoIAlign(7, 1 / 8, sampling_ratio, 'avg', aligned)(x, golden['roi/rois'])
    torch.testing.assert_close(output.detach(), golden[f'roi/out_{case}'], rtol=1e-5, atol=1e-5)
    # The gradient with which the golden values were made.
    output.backward(torch.linspace(-1, 1, output.numel()).view_as(output))
    torch.testing.assert_close(x.grad, golden[f'roi/grad_{case}'], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 2])
@pytest.mark.parametrize('pool_mode', ['avg', 'max'])
def test_equals_a_loop_forward_and_backward(aligned, sampling_ratio, pool_mode):
    x = torch.randn(2, 2, 9, 11, dtype=torch.float64, requires_grad=True)
    rois = ROIS.double()
    arguments = ((2, 3), 0.5, sampling_ratio, pool_mode, aligned)
    output = roi_align(x, rois, *arguments)
    expected = loop_roi_align(x, rois, *arguments)
    torch.testing.assert_close(output, expected)
    weight = torch.randn_like(output)
    grads = (torch.autograd.grad((values * weight).sum(), x)[0] for values in (output, expected))
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize('pool_mode', ['avg', 'max'])
def test_gradcheck(pool_mode):
    x = torch.randn(2, 1, 6, 7, dtype=torch.float64, requires_grad=True)
    rois = torch.tensor(
        [[0.0, 0.7, 1.1, 9.3, 8.2], [1.0, -2.0, 3.0, 6.0, 20.0]], dtype=torch.float64
    )
    assert torch.autograd.gradcheck(
        lambda x: roi_align(x, rois, (2, 2), 0.5, 2, pool_mode, True), x
    )


def test_a_ramp_gives_the_centres_of_the_bins():
    x = torch.arange(16.0).expand(1, 1, 16, 16)  # value = index of the column, at x + 0.5
    output = roi_align(x, torch.tensor([[0.0, 4.0, 4.0, 12.0, 12.0]]), (1, 4), 1.0, 0, 'avg', True)
    torch.testing.assert_close(output.flatten(), torch.tensor([5.0, 7.0, 9.0, 11.0]) - 0.5)
    largest = roi_align(x, torch.tensor([[0.0, 4.0, 4.0, 12.0, 12.0]]), (1, 4), 1.0, 2, 'max', True)
    torch.testing.assert_close(largest.flatten(), torch.tensor([5.5, 7.5, 9.5, 11.5]) - 0.5)


@pytest.mark.parametrize('pool_mode', ['avg', 'max'])
def test_off_the_map_is_zero_without_gradient(pool_mode):
    x = torch.randn(1, 2, 8, 8, requires_grad=True)
    output = roi_align(x, torch.tensor([[0.0, 40.0, 40.0, 60.0, 60.0]]), 3, 1.0, 0, pool_mode, True)
    output.sum().backward()
    assert output.shape == (1, 2, 3, 3) and not output.any() and not x.grad.any()


def test_max_keeps_the_place_of_the_first_maximum():
    x = torch.zeros(1, 1, 4, 4)
    output = torch.zeros(1, 1, 1, 1)
    y_place = torch.zeros_like(output)
    x_place = torch.zeros_like(output)
    x[0, 0, 1:3, 1:3] = 5.0
    ext.roi_align_forward(
        x,
        torch.tensor([[0.0, 0.0, 0.0, 4.0, 4.0]]),
        output,
        y_place,
        x_place,
        1,
        1,
        1.0,
        0,
        0,
        True,
    )
    assert (output.item(), y_place.item(), x_place.item()) == (5.0, 1.0, 1.0)


@pytest.mark.parametrize('pool_mode', ['avg', 'max'])
def test_no_rois(pool_mode):
    x = torch.randn(1, 2, 8, 8, requires_grad=True)
    output = roi_align(x, torch.zeros(0, 5), 3, 1.0, 0, pool_mode, True)
    output.sum().backward()
    assert output.shape == (0, 2, 3, 3) and not x.grad.any()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('pool_mode', ['avg', 'max'])
def test_reduced_precision(dtype, pool_mode):
    x = torch.randn(2, 2, 9, 11)
    rois = ROIS.round().to(dtype)
    x = x.to(dtype).requires_grad_()
    output = roi_align(x, rois, 2, 0.5, 2, pool_mode, True)
    assert output.dtype == dtype
    assert torch.equal(
        output, roi_align(x.float(), rois.float(), 2, 0.5, 2, pool_mode, True).to(dtype)
    )
    output.sum().backward()
    assert x.grad.dtype == dtype and x.grad.isfinite().all() and x.grad.any()


def test_channels_last_and_part_of_a_tensor():
    x = torch.randn(2, 4, 9, 11)
    expected = roi_align(x, ROIS, 2, 0.5, 2, 'avg', True)
    assert torch.equal(
        roi_align(x.to(memory_format=torch.channels_last), ROIS, 2, 0.5, 2, 'avg', True), expected
    )
    assert torch.equal(
        roi_align(x[:, ::2], ROIS, 2, 0.5, 2, 'max', True),
        roi_align(x, ROIS, 2, 0.5, 2, 'max', True)[:, ::2],
    )


def test_bad_input():
    x = torch.randn(1, 2, 8, 8)
    with pytest.raises(
        RuntimeError, match=r'x1 <= x2 and y1 <= y2, got \[0.0, 4.0, 4.0, 2.0, 6.0\]'
    ):
        roi_align(x, torch.tensor([[0.0, 4.0, 4.0, 2.0, 6.0]]), 3, 1.0, 0, 'avg', True)
    # Without alignment, the RoI counts as a pixel wide.
    assert roi_align(x, torch.tensor([[0.0, 4.0, 4.0, 2.0, 6.0]]), 3, 1.0, 0, 'avg', False).any()
    with pytest.raises(IndexError, match=r'in 0\.\.0, got 1\.\.1'):
        roi_align(x, torch.tensor([[1.0, 2.0, 2.0, 4.0, 4.0]]), 3, 1.0, 0, 'avg', True)
    with pytest.raises(ValueError, match='pool_mode'):
        ext.roi_align_forward(
            x, torch.zeros(0, 5), *[torch.zeros(0, 2, 3, 3)] * 3, 3, 3, 1.0, 0, 2, True
        )
    with pytest.raises(ValueError, match=r'rois must be \(R, 5\)'):
        ext.roi_align_forward(
            x, torch.zeros(1, 4), *[torch.zeros(1, 2, 3, 3)] * 3, 3, 3, 1.0, 0, 1, True
        )
