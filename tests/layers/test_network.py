"""The trunk: shapes, memory formats, precision, freezing, checkpointing, compilers, errors."""

import pytest
import torch
from timm.layers import DropPath

from convnext_dense.layers import ConvNeXt, ConvNeXtBlock, GlobalResponseNorm
from convnext_dense.variants import VARIANTS, Variant, get_variant

SMALL = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))
SMALL_V2 = SMALL | dict(use_grn=True)
both_versions = pytest.mark.parametrize('arch', [SMALL, SMALL_V2], ids=['v1', 'v2'])


def make(arch=SMALL, **kwargs):
    """A trunk whose every branch matters: no layer scale of 1e-6, no GRN of zeros."""
    torch.manual_seed(0)
    model = ConvNeXt(arch, **kwargs)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def largest_error(actual, expected):
    return max(
        ((a.float() - e.float()).norm() / e.float().norm()).item()
        for a, e in zip(actual, expected, strict=True)
    )


def narrow(variant, width=4):
    return Variant(
        variant.depths, tuple(width * d // variant.dims[0] for d in variant.dims), variant.use_grn
    )


@pytest.mark.parametrize('name', VARIANTS)
def test_every_variant_gives_every_parameter_a_finite_gradient(name):
    model = ConvNeXt(narrow(VARIANTS[name]), drop_path_rate=0.2).train()
    outputs = model(torch.randn(2, 3, 64, 64))
    sum(output.square().mean() for output in outputs).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name


@pytest.mark.parametrize(('height', 'width'), [(32, 32), (33, 47), (63, 95), (64, 224)])
def test_sizes_round_down_at_every_stride(height, width):
    outputs = make()(torch.randn(1, 3, height, width))
    expected, h, w = [], height // 4, width // 4
    for dim in SMALL['dims']:
        expected.append((1, dim, h, w))
        h, w = h // 2, w // 2
    assert [tuple(output.shape) for output in outputs] == expected


@pytest.mark.parametrize('num_stages', [1, 2, 3, 5])
def test_any_number_of_stages(num_stages):
    model = ConvNeXt(
        dict(depths=(1,) * num_stages, dims=tuple(4 * (i + 1) for i in range(num_stages)))
    )
    outputs = model(torch.randn(1, 3, 128, 64))
    assert [128 // output.shape[2] for output in outputs] == list(model.strides)


@both_versions
def test_memory_format_of_the_input_is_kept_and_changes_nothing(arch):
    model, image = make(arch), torch.randn(2, 3, 64, 96)
    contiguous, channels_last = (
        model(image),
        model(image.contiguous(memory_format=torch.channels_last)),
    )
    assert all(output.is_contiguous() for output in contiguous)
    assert all(output.is_contiguous(memory_format=torch.channels_last) for output in channels_last)
    assert largest_error(channels_last, contiguous) < 1e-6


@both_versions
@pytest.mark.parametrize(
    ('dtype', 'bound'), [(torch.float16, 5e-3), (torch.bfloat16, 5e-2)], ids=['half', 'bfloat16']
)
def test_half_precision_is_finite_and_right(arch, dtype, bound):
    model, image = make(arch).eval(), torch.randn(1, 3, 64, 64)
    expected = model(image)
    outputs = model.to(dtype)(image.to(dtype))
    assert all(output.dtype == dtype and output.isfinite().all() for output in outputs)
    assert largest_error(outputs, expected) < bound


def test_layer_norm_statistics_do_not_overflow_in_half():
    from convnext_dense.layers import LayerNorm2d

    norm, x = LayerNorm2d(8), torch.randn(1, 8, 2, 2) * 1e4  # squares pass 65504
    assert largest_error([norm.half()(x.half())], [LayerNorm2d(8)(x)]) < 2e-3


def test_response_norm_of_large_half_maps_is_finite_and_right():
    norm, x = GlobalResponseNorm(4), torch.rand(1, 64, 64, 4) * 1e4  # the spatial norm passes 65504
    torch.nn.init.normal_(norm.gamma)
    expected = norm(x)
    assert largest_error([norm.half()(x.half())], [expected]) < 2e-3


def test_response_norm_by_hand():
    norm = GlobalResponseNorm(2, eps=0.0)
    norm.gamma.data, norm.beta.data = torch.tensor([2.0, 3.0]), torch.tensor([0.5, -0.5])
    x = torch.tensor([[3.0, 1.0], [4.0, 0.0]]).view(
        1, 2, 1, 2
    )  # norms 5 and 1, mean 3: N = 5/3, 1/3
    expected = torch.tensor(
        [[2 * 5 + 0.5 + 3, 3 / 3 - 0.5 + 1], [2 * 20 / 3 + 0.5 + 4, -0.5]]
    ).view(1, 2, 1, 2)
    torch.testing.assert_close(norm(x), expected)


def test_block_by_hand():
    """With a centre-tap filter and constant maps the block is arithmetic on one pixel."""
    block = ConvNeXtBlock(2, layer_scale_init_value=0.5).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.zero_()
        block.dwconv.weight[:, 0, 3, 3] = torch.tensor([2.0, 3.0])
        block.norm.weight.fill_(1)
        block.pwconv1.weight[0] = torch.tensor([1.0, 0.0])
        block.pwconv2.weight[1, 0] = 4.0
        block.gamma.fill_(0.5)
    x = torch.tensor([1.0, 2.0], dtype=torch.float64).view(1, 2, 1, 1)
    # dwconv (2, 6) has mean 4 and variance 4, so norm gives (-1, 1) up to eps; the hidden layer is
    # -1, and gelu(-1) = -Phi(-1) = -0.158655.
    expected = torch.tensor([1.0, 2.0 + 0.5 * 4 * -0.15865525393145707], dtype=torch.float64).view(
        1, 2, 1, 1
    )
    torch.testing.assert_close(block(x), expected, rtol=1e-6, atol=1e-6)


def test_drop_path_rises_linearly_over_the_whole_arch_even_when_fewer_stages_are_built():
    model = ConvNeXt(SMALL, num_stages=3, drop_path_rate=0.4)
    rates = [
        getattr(block.drop_path, 'drop_prob', 0.0) for stage in model.stages for block in stage
    ]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])
    assert isinstance(model.stages[2][1].drop_path, DropPath)


def test_layer_scale_default_off_and_set():
    assert ConvNeXt(SMALL).stages[0][0].gamma[0].item() == pytest.approx(1e-6)
    assert ConvNeXt(SMALL, layer_scale_init_value=1).stages[0][0].gamma.tolist() == [1.0] * 8
    assert not any(
        '.gamma' in name for name, _ in ConvNeXt(SMALL, layer_scale_init_value=0).named_parameters()
    )
    assert not any(name.endswith('0.gamma') for name, _ in ConvNeXt(SMALL_V2).named_parameters())


def test_initialization_is_the_authors():
    torch.manual_seed(0)
    model = ConvNeXt(dict(depths=(1, 1), dims=(64, 128)))
    for module in model.modules():
        if isinstance(module, (torch.nn.Conv2d, torch.nn.Linear)):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
            assert not module.bias.any()


@both_versions
def test_checkpointing_changes_nothing(arch):
    image, gradients = torch.randn(1, 3, 64, 64), []
    for with_cp in (False, True):
        model = make(arch, with_cp=with_cp, drop_path_rate=0.5).train()
        torch.manual_seed(1)
        sum(output.square().mean() for output in model(image)).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, checkpointed in zip(*gradients, strict=True):
        torch.testing.assert_close(checkpointed, plain)


def test_frozen_stages_stay_frozen():
    model = ConvNeXt(SMALL, frozen_stages=2, drop_path_rate=0.5)
    model.requires_grad_(True)
    assert model.train() is model and model.eval() is model
    model.train()
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {
        name
        for name, _ in model.named_parameters()
        if name.startswith(('downsample_layers.0', 'downsample_layers.1', 'stages.0', 'stages.1'))
    }
    assert not model.stages[1].training and not model.stages[1][0].drop_path.training
    assert model.stages[2].training and model.stages[2][0].training


def test_norm_eval_holds_norms_in_eval_mode():
    model = ConvNeXt(SMALL, norm_eval=True).train()
    assert {m.training for m in model.modules() if isinstance(m, torch.nn.LayerNorm)} == {False}
    assert model.stages[0].training


def test_meta_device():
    with torch.device('meta'):
        outputs = ConvNeXt('tiny')(torch.empty(1, 3, 224, 224))
    assert [tuple(o.shape) for o in outputs] == [
        (1, 96, 56, 56),
        (1, 192, 28, 28),
        (1, 384, 14, 14),
        (1, 768, 7, 7),
    ]


@both_versions
@pytest.mark.filterwarnings(
    'ignore:`torch.jit.trace:DeprecationWarning', 'ignore:`torch.jit:DeprecationWarning'
)
def test_traces_to_other_sizes(arch):
    model = make(arch).eval()
    traced = torch.jit.trace(model, torch.randn(1, 3, 64, 64))
    image = torch.randn(2, 3, 70, 101)
    assert largest_error(traced(image), model(image)) < 1e-6


@both_versions
def test_exports_with_dynamic_height_and_width(arch):
    model = make(arch).eval()
    side = torch.export.Dim('height', min=64), torch.export.Dim('width', min=64)
    exported = torch.export.export(
        model, (torch.randn(2, 3, 64, 96),), dynamic_shapes=({2: side[0], 3: side[1]},)
    )
    for size in [(64, 64), (70, 101)]:
        image = torch.randn(2, 3, *size)
        assert largest_error(exported.module()(image), model(image)) < 1e-6


@both_versions
def test_compiles_in_one_graph_forward_and_backward(arch):
    model, image = make(arch), torch.randn(2, 3, 64, 64)
    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    expected = model(image)
    assert largest_error(compiled(image), expected) < 1e-6
    sum(output.square().mean() for output in compiled(image)).backward()
    actual = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    sum(output.square().mean() for output in expected).backward()
    assert largest_error(actual, [parameter.grad for parameter in model.parameters()]) < 1e-4


@pytest.mark.slow
@both_versions
def test_compiles_with_inductor(arch):
    model = make(arch).eval()
    compiled = torch.compile(model, fullgraph=True)
    with torch.inference_mode():
        for size in [(64, 96), (70, 101)]:
            image = torch.randn(2, 3, *size)
            assert largest_error(compiled(image), model(image)) < 1e-5


@pytest.mark.parametrize(
    ('image', 'message'),
    [
        (torch.zeros(3, 64, 64), 'batch of images'),
        (torch.zeros(1, 4, 64, 64), r'\(N, 3, H, W\)'),
        (torch.zeros(1, 3, 31, 64), 'at least 32 x 32 px'),
        (torch.zeros(1, 3, 64, 31), 'got 64 x 31'),
    ],
)
def test_bad_images(image, message):
    with pytest.raises(ValueError, match=message):
        ConvNeXt(SMALL)(image)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(in_channels=0), 'in_channels'),
        (dict(drop_path_rate=1.0), 'drop_path_rate'),
        (dict(num_stages=5), 'num_stages'),
        (dict(drop_path_rate=-0.1), 'drop_path_rate'),
        (dict(layer_scale_init_value=-1.0), 'layer_scale_init_value'),
        (dict(arch='v2_atto', layer_scale_init_value=1.0), 'GRN in place'),
        (dict(frozen_stages=5), 'frozen_stages'),
        (dict(arch='tinny'), "Did you mean 'tiny'"),
        (dict(arch=dict(depths=(1, 1))), r"missing \['dims'\]"),
        (dict(arch=dict(depths=(1, 1), dims=(8,))), 'one entry for each stage'),
        (dict(arch=dict(depths=(1, 0), dims=(8, 8))), 'positive integers'),
        (dict(arch=dict(depths=(1,), dims=(8,), use_grn='no')), 'use_grn must be True or False'),
        (dict(arch=dict(depths=(1,), dims=(8,), norm_eps=-1)), 'norm_eps a small positive number'),
        (dict(arch=dict(depths=(1,), dims=(8,), num_layers=6)), r"unknown \['num_layers'\]"),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ConvNeXt(**{'arch': SMALL, **kwargs})


def test_arch_of_another_type():
    with pytest.raises(TypeError, match='a name, a dict or a Variant'):
        get_variant(3)


def test_response_norm_loads_the_authors_shape_and_refuses_another():
    norm = GlobalResponseNorm(8)
    norm.load_state_dict(dict(gamma=torch.ones(1, 1, 1, 8), beta=torch.full((1, 8), 2.0)))
    assert norm.gamma.tolist() == [1.0] * 8 and norm.beta.tolist() == [2.0] * 8
    with pytest.raises(RuntimeError, match='size mismatch'):
        norm.load_state_dict(dict(gamma=torch.ones(1, 1, 1, 4), beta=torch.ones(8)))
