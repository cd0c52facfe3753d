"""Multi-scale deformable attention: against mmcv's torch version, gradcheck, values by hand."""

import mmcv._ext as ext
import pytest
import torch
from mmcv.ops import MultiScaleDeformableAttention
from mmcv.ops.multi_scale_deform_attn import (
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)

SHAPES = torch.tensor([[4, 6], [2, 3]])
STARTS = torch.tensor([0, 24])


def make_inputs(dtype=torch.float64, images=4, queries=3, heads=2, channels=5, points=3):
    """Locations reach past the map on all sides."""
    value = torch.randn(images, 30, heads, channels, dtype=dtype)
    locations = torch.rand(images, queries, heads, 2, points, 2, dtype=dtype) * 1.6 - 0.3
    weights = torch.rand(images, queries, heads, 2, points, dtype=dtype)
    return [tensor.requires_grad_() for tensor in (value, locations, weights)]


def attend(value, locations, weights, shapes=SHAPES, starts=STARTS, im2col_step=2):
    return MultiScaleDeformableAttnFunction.apply(
        value, shapes, starts, locations, weights, im2col_step
    )


def test_equals_mmcv_in_torch_forward_and_backward():
    value, locations, weights = make_inputs()
    output = attend(value, locations, weights)
    expected = multi_scale_deformable_attn_pytorch(value, SHAPES, locations, weights)
    torch.testing.assert_close(output, expected)
    grad = torch.randn_like(output)
    inputs = (value, locations, weights)
    ours = torch.autograd.grad(output, inputs, grad)
    theirs = torch.autograd.grad(expected, inputs, grad)
    torch.testing.assert_close(ours, theirs)


def test_gradcheck():
    assert torch.autograd.gradcheck(
        attend, tuple(make_inputs(images=2, queries=2, channels=2, points=2)), fast_mode=True
    )


def test_by_hand():
    # A level of 1 x 2 pixels, 10 and 30, sampled at both centres, in the middle, at the end of the
    # map, and off the map.
    value = torch.tensor([10.0, 30.0]).view(1, 2, 1, 1)
    locations = torch.tensor([[0.25, 0.5], [0.75, 0.5], [0.5, 0.5], [1.0, 0.5], [2.0, 0.5]]).view(
        1, 5, 1, 1, 1, 2
    )
    output = attend(
        value,
        locations,
        torch.full((1, 5, 1, 1, 1), 0.5),
        torch.tensor([[1, 2]]),
        torch.tensor([0]),
    )
    assert output.flatten().tolist() == [5.0, 15.0, 10.0, 7.5, 0.0]


def test_levels_begin_at_their_start_index():
    value, locations, weights = make_inputs()
    gap = torch.cat((value[:, :24], torch.full_like(value[:, :7], torch.nan), value[:, 24:]), dim=1)
    output = attend(gap, locations, weights, starts=torch.tensor([0, 31]))
    assert torch.equal(output, attend(value, locations, weights))


def test_a_point_one_pixel_off_the_map_has_no_slope():
    value = torch.full((1, 4, 1, 1), 3.0)
    weights = torch.ones(1, 1, 1, 1, 1)
    # x = -1, y = 0 on 2 x 2 pixels.
    locations = torch.tensor([-0.25, 0.25]).view(1, 1, 1, 1, 1, 2).requires_grad_()
    attend(value, locations, weights, torch.tensor([[2, 2]]), torch.tensor([0])).sum().backward()
    assert not locations.grad.any()


def test_gradients_are_added():
    value, locations, weights = (tensor.detach() for tensor in make_inputs())
    grad = torch.randn(4, 3, 10, dtype=torch.float64)
    grads = [torch.ones_like(tensor) for tensor in (value, locations, weights)]
    ext.ms_deform_attn_backward(
        value, SHAPES, STARTS, locations, weights, grad, *grads, im2col_step=4
    )
    inputs = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    expected = torch.autograd.grad(attend(*inputs), inputs, grad)
    for ours, theirs in zip(grads, expected, strict=True):
        torch.testing.assert_close(ours, theirs + 1)


def test_the_module_gives_the_same_result_with_the_op(monkeypatch):
    module = MultiScaleDeformableAttention(
        embed_dims=8, num_heads=2, num_levels=2, dropout=0.0, batch_first=True
    )
    torch.nn.init.normal_(module.sampling_offsets.weight)
    arguments = dict(
        query=torch.randn(2, 30, 8),
        reference_points=torch.rand(2, 30, 2, 2),
        spatial_shapes=SHAPES,
        level_start_index=STARTS,
    )
    expected = module(**arguments)  # on the CPU, mmcv uses its torch version
    monkeypatch.setattr(
        'mmcv.ops.multi_scale_deform_attn.multi_scale_deformable_attn_pytorch',
        lambda value, shapes, locations, weights: attend(value, locations, weights, shapes),
    )
    torch.testing.assert_close(module(**arguments), expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_reduced_precision(dtype):
    value, locations, weights = (
        tensor.detach().to(dtype).requires_grad_() for tensor in make_inputs()
    )
    output = attend(value, locations, weights)
    assert output.dtype == dtype
    assert torch.equal(output, attend(value.float(), locations.float(), weights.float()).to(dtype))
    output.sum().backward()
    assert value.grad.dtype == dtype and all(
        t.grad.isfinite().all() for t in (value, locations, weights)
    )


def test_bad_input():
    with pytest.raises(RuntimeError, match='batch of 4 must be a multiple of im2col_step=3'):
        attend(*make_inputs(), im2col_step=3)
    assert attend(*make_inputs(), im2col_step=64).shape == (4, 3, 10)
