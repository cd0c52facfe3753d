"""``optimize_for_inference``: equal maps, never from stale weights, and training afterwards."""

import copy

import pytest
import torch

from convnext_dense import models
from convnext_dense.layers import ConvNeXt, path

V1 = dict(depths=(2, 1, 1, 1), dims=(16, 24, 40, 64))
V2 = V1 | dict(use_grn=True)
both_versions = pytest.mark.parametrize('use_grn', [False, True], ids=['v1', 'v2'])


@pytest.fixture
def image():
    return torch.randn(2, 3, 70, 101)


def make(use_grn=False, make_model=ConvNeXt, seed=0, **kwargs):
    torch.manual_seed(seed)
    kwargs.setdefault('memory', 'half')
    model = make_model((V2 if use_grn else V1) | kwargs.pop('arch', {}), **kwargs)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def blocks(model):
    return [block for stage in model.stages for block in stage]


def run_full(model, image):
    """What the model gives when nothing is packed."""
    other = copy.deepcopy(model).optimize_for_inference(False)
    for block in blocks(other):
        block.memory = 'full'
    with torch.no_grad():
        return other(image)


def assert_right(model, image, bound=1e-5, packed=True):
    with torch.no_grad():
        outputs = model(image)
    assert all((block._packed is not None) == packed for block in blocks(model))
    for actual, expected in zip(outputs, run_full(model, image), strict=True):
        assert actual.dtype == expected.dtype and actual.shape == expected.shape
        assert actual.is_contiguous() == expected.is_contiguous()
        assert (actual - expected).norm() <= bound * expected.norm()


@both_versions
@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize('make_model', [ConvNeXt, models.ConvNeXt], ids=['trunk', 'backbone'])
def test_equals_full(use_grn, mode, make_model, image):
    model = make(use_grn, make_model)
    assert (
        model.optimize_for_inference() is model
        and not model.training
        and not blocks(model)[0].training
    )
    before = image.clone()
    with mode():
        outputs = model(image)
    assert torch.equal(image, before) and all(block._packed for block in blocks(model))
    for actual, expected in zip(outputs, run_full(model, image), strict=True):
        assert (actual - expected).norm() <= 1e-5 * expected.norm()


@both_versions
@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_sizes_and_batches_may_change(use_grn, memory_format):
    model = make(use_grn).optimize_for_inference()
    packed = None
    for size in [(2, 3, 64, 64), (1, 3, 32, 32), (3, 3, 160, 230), (0, 3, 64, 64), (2, 3, 64, 64)]:
        assert_right(model, torch.randn(size).contiguous(memory_format=memory_format))
        packed = packed or [block._packed for block in blocks(model)]
        assert packed == [block._packed for block in blocks(model)]  # and they are not packed again


@both_versions
def test_input_of_a_block_is_not_written(use_grn):
    block = blocks(make(use_grn).optimize_for_inference())[0]
    x = torch.randn(1, 16, 9, 9).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    with torch.no_grad():
        assert not torch.equal(block(x), x)
    assert torch.equal(x, before) and block._packed


@both_versions
@pytest.mark.parametrize('residual_dtype', [None, 'bfloat16'])
def test_bfloat16_autocast_errs_no_more_than_full(use_grn, residual_dtype, image):
    model, true = (
        make(use_grn, residual_dtype=residual_dtype).optimize_for_inference(),
        run_full(make(use_grn), image),
    )
    with torch.autocast('cpu', torch.bfloat16), torch.no_grad():
        actual, expected = model(image), run_full(model, image)
    for a, e, t in zip(actual, expected, true, strict=True):
        assert a.dtype == e.dtype and (a.float() - t).norm() <= 2 * (e.float() - t).norm()


@pytest.mark.parametrize('dtype', [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_other_dtypes_and_back(dtype, image):
    model = make().optimize_for_inference()
    assert_right(model, image)
    with torch.no_grad():
        outputs = model.to(dtype)(image.to(dtype))
    assert {o.dtype for o in outputs} == {dtype} and all(o.isfinite().all() for o in outputs)
    assert_right(model.float(), image)


def test_float16_autocast_runs_unpacked(image):
    model = make().optimize_for_inference()
    with torch.autocast('cpu', torch.float16), torch.no_grad():
        outputs = model(image)
    assert all(block._packed is None for block in blocks(model))
    assert all(
        (o.float() - e).norm() < 0.01 * e.norm()
        for o, e in zip(outputs, run_full(model, image), strict=True)
    )


def _step(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    sum(o.square().mean() for o in model(torch.randn(1, 3, 32, 32))).backward()
    optimizer.step()


def _write_one(name, index):
    def write(model):
        model.get_parameter(name).data[index] += 0.5

    return write


def _swap(model):
    """As an average of weights (mmengine's EMAHook) goes in and out: through ``.data``."""
    for own, other in zip(model.parameters(), make(seed=1).parameters(), strict=True):
        own.data, other.data = other.data, own.data


def _copy(model):
    for own, other in zip(model.parameters(), make(seed=1).parameters(), strict=True):
        kept = own.data.clone()
        own.data.copy_(other.data)
        other.data.copy_(kept)


def _assign(model):
    blocks(model)[0].pwconv1.weight = torch.nn.Parameter(blocks(model)[0].pwconv1.weight * 1.1)


def _flip(model):
    """Neither a sum of all nor a count of changes sees it."""
    weight = blocks(model)[0].dwconv.weight
    weight.data.copy_(weight.data.flip(-1))


def _reorder(model):
    """Hidden units in another order, in one of the two layers."""
    weight = blocks(model)[0].pwconv1.weight
    weight.data.copy_(weight.data.flip(0))


def _to_vector(model):
    torch.nn.utils.vector_to_parameters(
        torch.nn.utils.parameters_to_vector(make(seed=1).parameters()).detach(), model.parameters()
    )


def _negate(model):
    """Every sign bit of a matrix at once, an even number of them in each row."""
    blocks(model)[0].pwconv2.weight.data.neg_()


CHANGES = dict(
    step=_step,
    negate=_negate,
    swap=_swap,
    copy=_copy,
    assign=_assign,
    flip=_flip,
    reorder=_reorder,
    to_vector=_to_vector,
    load=lambda model: model.load_state_dict(make(seed=1).state_dict()),
    load_assign=lambda model: model.load_state_dict(make(seed=1).state_dict(), assign=True),
    **{
        f'write {name}': _write_one(f'stages.0.0.{name}', index)
        for name, index in [
            ('gamma', 3),
            ('norm.weight', 3),
            ('norm.bias', 3),
            ('dwconv.bias', 3),
            ('pwconv1.bias', 3),
            ('pwconv2.bias', 3),
            ('dwconv.weight', (3, 0, 1, 1)),
            ('pwconv1.weight', (3, 4)),
            ('pwconv2.weight', (3, 4)),
        ]
    },
)


@pytest.mark.parametrize('change', CHANGES)
def test_never_stale(change):
    model, image = make().optimize_for_inference(), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        before = model(image)
    CHANGES[change](model)
    assert_right(model, image)
    with torch.no_grad():
        assert (model(image)[0] - before[0]).norm() > 1e-4 * before[0].norm()


@pytest.mark.parametrize('name', ['grn.gamma', 'grn.beta'])
def test_never_stale_v2(name):
    model, image = make(True).optimize_for_inference(), torch.randn(1, 3, 32, 32)
    assert_right(model, image)
    _write_one(f'stages.0.0.{name}', 3)(model)
    assert_right(model, image)


def test_odd_widths_and_places():
    """Weights of an odd number of elements, at odd places of one storage."""
    model, image = (
        make(arch=dict(dims=(15, 17, 21, 23))).optimize_for_inference(),
        torch.randn(1, 3, 32, 32),
    )
    assert_right(model, image)
    _to = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    torch.nn.utils.vector_to_parameters(_to, model.parameters())
    assert_right(model, image)
    bits = blocks(model)[0].dwconv.weight.data.view(torch.int32)
    bits[0, 0, 0, 0], bits[0, 0, 0, 1] = 0x3F800000, 0x3F810000
    assert_right(model, image)
    bits[0, 0, 0, 0] = 0x40000000  # the halves of its word change
    assert_right(model, image)


def test_training_continues_unchanged(image):
    packed, other = make(drop_path_rate=0.5).optimize_for_inference(), make(drop_path_rate=0.5)
    for _ in range(2):
        assert_right(packed, image)
        for model in (packed, other):
            torch.manual_seed(5)
            model.train().zero_grad()
            sum(o.square().mean() for o in model(image)).backward()
            torch.optim.SGD(model.parameters(), 0.01).step()
        assert all(block._packed is None for block in blocks(packed))
        assert all(map(torch.equal, packed.parameters(), other.parameters()))
        packed.eval()
    assert_right(packed, image)
    assert_right(packed.optimize_for_inference(False), image, packed=False)


def test_gradients_in_eval_mode_are_those_of_the_parameters(image):
    model, results = make().optimize_for_inference(), []
    for one in (model, make().eval()):
        sum(o.square().mean() for o in one(image)).backward()
        results.append([p.grad for p in one.parameters()])
    assert all(map(torch.equal, *results))


def test_state_and_memory(image):
    model, other = make().optimize_for_inference(), make()
    assert_right(model, image)
    assert all(map(torch.equal, model.state_dict().values(), other.state_dict().values()))
    assert model.state_dict().keys() == other.state_dict().keys()
    assert copy.deepcopy(blocks(model)[0])._packed is None and blocks(model)[0]._packed is not None


def test_changed_parts_run_as_they_are(image):
    model = make().optimize_for_inference()
    blocks(model)[0].pwconv1.register_forward_hook(lambda module, args, out: 2 * out)
    with torch.no_grad():
        outputs = model(image)
    assert blocks(model)[0]._packed is None and blocks(model)[1]._packed is not None
    for block in blocks(model):
        block.optimized, block.memory = False, 'full'
    with torch.no_grad():
        assert all(
            (a - e).norm() < 1e-5 * e.norm() for a, e in zip(outputs, model(image), strict=True)
        )


@pytest.mark.parametrize('kwargs', [dict(memory='full'), dict(output_stride=8)], ids=str)
def test_a_full_block_is_never_packed(kwargs):
    model, image = make(**kwargs).optimize_for_inference(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        outputs = model(image)
    assert blocks(model)[-1]._packed is None
    assert all(
        (a - e).norm() < 1e-5 * e.norm()
        for a, e in zip(outputs, run_full(model, image), strict=True)
    )


def test_without_onednn(image, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: False)
    assert_right(make().optimize_for_inference(), image, packed=False)


def test_why_not_packed():
    block = blocks(make())[0]
    x = torch.ones(1, 16, 4, 4)
    reasons = [
        'optimize_for_inference() was not called',
        'the block is in training mode',
        'gradients are enabled',
    ]
    assert list(path.why_not_packed(block, x, None)) == reasons
    block.optimized = True
    block.eval()
    with torch.no_grad():
        assert list(path.why_not_packed(block, x, None)) == []
        (reason,) = path.why_not_packed(block, x.double(), None)
        assert 'no packed products of torch.float64' in reason
        assert list(path.why_not_packed(block, x[:0], None)) == ['the input is empty']
        (reason,) = path.why_not_packed(block, x.to('meta'), None)
        assert 'the input is on meta' in reason
