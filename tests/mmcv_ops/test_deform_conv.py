"""Deformable convolution v1 and v2: against compiled mmcv, a slow loop, convolution, gradcheck."""

import math

import mmcv._ext as ext
import pytest
import torch
from mmcv.ops import DeformConv2d, ModulatedDeformConv2d, deform_conv2d, modulated_deform_conv2d

GEOMETRIES = [  # stride, padding, dilation, groups, deform_groups
    ((1, 1), (1, 1), (1, 1), 1, 1),
    ((2, 1), (0, 2), (1, 2), 2, 1),
    ((1, 2), (2, 1), (2, 1), 1, 2),
    ((2, 2), (1, 0), (1, 1), 2, 4),
]


def output_size(size, kernel, stride, padding, dilation):
    return [
        (size[k] + 2 * padding[k] - dilation[k] * (kernel[k] - 1) - 1) // stride[k] + 1
        for k in (0, 1)
    ]


def make_inputs(geometry, dtype=torch.float64, batch=2, size=(5, 6), kernel=(3, 2)):
    stride, padding, dilation, groups, deform_groups = geometry
    out = output_size(size, kernel, stride, padding, dilation)
    taps = deform_groups * kernel[0] * kernel[1]
    shapes = dict(
        x=(batch, 4, *size),
        offset=(batch, taps * 2, *out),
        mask=(batch, taps, *out),
        weight=(2, 4 // groups, *kernel),
        bias=(2,),
    )
    return {
        name: torch.randn(shape, dtype=dtype, requires_grad=True) for name, shape in shapes.items()
    }


def bilinear(plane, y, x):
    """Sample of ``plane`` (H, W) with zeros around it, differentiable w.r.t. y and x."""
    height, width = plane.shape
    if not (-1 < y < height and -1 < x < width):
        return (y + x) * 0
    total = 0.0
    y0 = math.floor(y.item())
    x0 = math.floor(x.item())
    for row, wy in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
        for column, wx in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
            if 0 <= row < height and 0 <= column < width:
                total = total + wy * wx * plane[row, column]
    return total


def loop_deform_conv(x, offset, mask, weight, bias, geometry):
    stride, padding, dilation, groups, deform_groups = geometry
    kernel = weight.shape[2:]
    out = offset.shape[2:]
    offset = offset.view(len(x), deform_groups, *kernel, 2, *out)
    mask = mask.view(len(x), deform_groups, *kernel, *out)
    per_group = len(weight) // groups
    per_deform_group = x.shape[1] // deform_groups
    outputs = []
    for n in range(len(x)):
        for o in range(len(weight)):
            for h in range(out[0]):
                for w in range(out[1]):
                    total = bias[o]
                    for c in range(weight.shape[1]):
                        channel = o // per_group * weight.shape[1] + c
                        group = channel // per_deform_group
                        for i in range(kernel[0]):
                            for j in range(kernel[1]):
                                dy, dx = offset[n, group, i, j, :, h, w]
                                sample = bilinear(
                                    x[n, channel],
                                    h * stride[0] - padding[0] + i * dilation[0] + dy,
                                    w * stride[1] - padding[1] + j * dilation[1] + dx,
                                )
                                total = (
                                    total + sample * mask[n, group, i, j, h, w] * weight[o, c, i, j]
                                )
                    outputs.append(total)
    return torch.stack(outputs).view(len(x), len(weight), *out)


def assert_same_grads(output, expected, inputs):
    grad = torch.randn_like(output)
    grads = torch.autograd.grad(output, inputs, grad)
    expected_grads = torch.autograd.grad(expected, inputs, grad)
    torch.testing.assert_close(grads, expected_grads)


def test_equals_compiled(golden):
    x, offset, weight, mask, bias = (
        golden[f'dcn/{name}'] for name in ('x', 'offset', 'weight', 'mask', 'bias')
    )
    close = dict(rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        deform_conv2d(x, offset, weight, 1, 1), golden['dcn/deform'], **close
    )
    torch.testing.assert_close(
        modulated_deform_conv2d(x, offset, mask, weight, bias, 1, 1),
        golden['dcn/modulated'],
        **close,
    )


@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_v1_equals_a_loop_forward_and_backward(geometry):
    t = make_inputs(geometry, batch=1, size=(4, 4), kernel=(2, 2))
    output = deform_conv2d(t['x'], t['offset'], t['weight'], *geometry)
    expected = loop_deform_conv(
        t['x'],
        t['offset'],
        torch.ones_like(t['mask']),
        t['weight'],
        torch.zeros_like(t['bias']),
        geometry,
    )
    torch.testing.assert_close(output, expected)
    assert_same_grads(output, expected, [t['x'], t['offset'], t['weight']])


@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_v2_equals_a_loop_forward_and_backward(geometry):
    t = make_inputs(geometry, batch=1, size=(4, 4), kernel=(2, 2))
    output = modulated_deform_conv2d(
        t['x'], t['offset'], t['mask'], t['weight'], t['bias'], *geometry
    )
    expected = loop_deform_conv(
        *(t[name] for name in ('x', 'offset', 'mask', 'weight', 'bias')), geometry
    )
    torch.testing.assert_close(output, expected)
    assert_same_grads(
        output, expected, [t[name] for name in ('x', 'offset', 'mask', 'weight', 'bias')]
    )


@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_gradcheck(geometry):
    t = make_inputs(geometry, batch=2, size=(4, 4), kernel=(2, 2))
    fast = dict(fast_mode=True)
    assert torch.autograd.gradcheck(
        lambda *a: deform_conv2d(*a, *geometry, False, 1),
        (t['x'], t['offset'], t['weight']),
        **fast,
    )
    assert torch.autograd.gradcheck(
        lambda *a: modulated_deform_conv2d(*a, *geometry),
        tuple(t[name] for name in ('x', 'offset', 'mask', 'weight', 'bias')),
        **fast,
    )


@pytest.mark.parametrize('geometry', GEOMETRIES)
def test_zero_offsets_are_plain_convolution(geometry):
    t = make_inputs(geometry)
    (stride, padding, dilation, groups, _) = geometry
    offset = torch.zeros_like(t['offset'])
    mask = torch.full_like(t['mask'], 0.5)
    expected = torch.nn.functional.conv2d(
        t['x'], t['weight'] * 0.5, t['bias'], stride, padding, dilation, groups
    )
    torch.testing.assert_close(
        modulated_deform_conv2d(t['x'], offset, mask, t['weight'], t['bias'], *geometry), expected
    )


def test_a_sample_one_pixel_off_the_map_has_no_slope():
    # A 1 x 1 kernel with padding 1 samples -1, 0, 1, 2. At -1 the slope is that of the outside, as
    # in mmcv.
    x = torch.tensor([[[[3.0, 3.0], [3.0, 3.0]]]], requires_grad=True)
    offset = torch.zeros(1, 2, 4, 4, requires_grad=True)
    deform_conv2d(x, offset, torch.ones(1, 1, 1, 1), 1, 1).sum().backward()
    expected = torch.zeros(2, 4, 4)
    expected[0, 2, 1:3] = expected[1, 1:3, 2] = -3.0  # from the last row, or column, on to nothing
    assert torch.equal(offset.grad[0], expected)


def test_modules_and_im2col_step():
    x = torch.randn(4, 4, 6, 6)
    offset = torch.randn(4, 18, 6, 6)
    mask = torch.rand(4, 9, 6, 6)
    conv = DeformConv2d(4, 6, 3, padding=1, im2col_step=2)
    expected = modulated_deform_conv2d(x, offset, torch.ones_like(mask), conv.weight, None, 1, 1)
    torch.testing.assert_close(conv(x, offset), expected)
    modulated = ModulatedDeformConv2d(4, 6, 3, padding=1)
    modulated(x, offset, mask).sum().backward()
    torch.testing.assert_close(modulated.bias.grad, torch.full((6,), 4.0 * 36))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_reduced_precision(dtype):
    t = {name: value.detach().to(dtype) for name, value in make_inputs(GEOMETRIES[0]).items()}
    t['x'].requires_grad_()
    names = ('x', 'offset', 'mask', 'weight', 'bias')
    output = modulated_deform_conv2d(*(t[name] for name in names), *GEOMETRIES[0])
    assert output.dtype == dtype
    assert torch.equal(
        output,
        modulated_deform_conv2d(*(t[name].float() for name in names), *GEOMETRIES[0]).to(dtype),
    )
    output.sum().backward()
    assert t['x'].grad.dtype == dtype and t['x'].grad.isfinite().all() and t['x'].grad.any()


def test_bad_input():
    x = torch.randn(4, 4, 6, 6)
    offset = torch.randn(4, 18, 6, 6)
    weight = torch.randn(6, 4, 3, 3)
    output = torch.empty(4, 6, 6, 6)
    empty = torch.empty(0)
    with pytest.raises(ValueError, match='batch of 4 must be a multiple of im2col_step=3'):
        ext.deform_conv_forward(
            x, weight, offset, output, empty, empty, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 3
        )
    with pytest.raises(ValueError, match=r'kernel is \(5, 3\)'):
        ext.deform_conv_forward(
            x, weight, offset, output, empty, empty, 3, 5, 1, 1, 1, 1, 1, 1, 1, 1, 2
        )
    with pytest.raises(ValueError, match=r'input must be \(N, C, H, W\)'):
        ext.deform_conv_forward(
            x[0], weight, offset, output, empty, empty, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2
        )


def test_gradient_of_the_weight_is_scaled_and_added():
    x = torch.randn(2, 4, 6, 6)
    offset = torch.randn(2, 18, 6, 6)
    grad = torch.randn(2, 6, 6, 6)
    once = torch.zeros(6, 4, 3, 3)
    half = torch.ones(6, 4, 3, 3)
    empty = torch.empty(0)
    for total, scale in ((once, 1.0), (half, 0.5)):
        ext.deform_conv_backward_parameters(
            x,
            offset,
            grad,
            total,
            empty,
            empty,
            kW=3,
            kH=3,
            dW=1,
            dH=1,
            padW=1,
            padH=1,
            dilationW=1,
            dilationH=1,
            group=1,
            deformable_group=1,
            scale=scale,
            im2col_step=2,
        )
    torch.testing.assert_close(half, 1 + once / 2)
