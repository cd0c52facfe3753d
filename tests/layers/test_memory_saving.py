"""Modes 'half' and 'low' equal 'full' in outputs and gradients, in every dtype, and keep less."""

import statistics
from pathlib import Path

import numpy as np
import pytest
import torch

from convnext_dense import models
from convnext_dense.layers import ConvNeXt, ConvNeXtBlock

GOLDEN = Path(__file__).parents[1] / 'golden'
V1 = dict(depths=(2, 1, 1, 1), dims=(16, 24, 40, 64))
V2 = V1 | dict(use_grn=True)
both_versions = pytest.mark.parametrize('use_grn', [False, True], ids=['v1', 'v2'])
both_modes = pytest.mark.parametrize('memory', ['half', 'low'])
half_precision = pytest.mark.parametrize(
    'dtype', [torch.bfloat16, torch.float16], ids=['bfloat16', 'float16']
)


def make_block(use_grn=False, memory='half', dim=16, gamma=1.0, **kwargs):
    """A block whose every part matters."""
    torch.manual_seed(0)
    block = ConvNeXtBlock(
        dim,
        memory=memory,
        use_grn=use_grn,
        layer_scale_init_value=0 if use_grn else gamma,
        **kwargs,
    )
    with torch.no_grad():
        for name, parameter in block.named_parameters():
            if name != 'gamma':
                parameter.add_(torch.randn_like(parameter) * 0.1)
            elif gamma == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return block


def make(use_grn, memory, **kwargs):
    torch.manual_seed(0)
    model = ConvNeXt(V2 if use_grn else V1, memory=memory, **kwargs)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def values(module, x, autocast=None, factor=1.0):
    """Outputs and gradients by name, for output gradients that are equal in every dtype."""
    x = x.clone().requires_grad_()
    torch.manual_seed(1)
    with torch.autocast('cpu', autocast, enabled=autocast is not None):
        outputs = module(x)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    torch.manual_seed(2)
    torch.autograd.backward(
        outputs, [(torch.randn(o.shape, dtype=torch.float64) * factor).to(o.dtype) for o in outputs]
    )
    return (
        {f'output{i}': o.detach() for i, o in enumerate(outputs)}
        | dict(input=x.grad)
        | {name: parameter.grad for name, parameter in module.named_parameters()}
    )


def errors(actual, expected):
    """|actual - expected| / |expected| of each."""
    assert actual.keys() == expected.keys()
    return {
        key: ((actual[key].double() - tensor.double()).norm() / tensor.double().norm()).item()
        for key, tensor in expected.items()
    }


def assert_equal(actual, expected, tolerance):
    for name, error in errors(actual, expected).items():
        assert error <= tolerance, (name, error)


@both_versions
@both_modes
@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=['64', '32']
)
def test_network_equals_full(use_grn, memory, dtype, tolerance):
    image = torch.randn(2, 3, 70, 101).to(dtype)
    saving, full = (
        values(make(use_grn, mode, drop_path_rate=0.3).to(dtype), image)
        for mode in (memory, 'full')
    )
    assert_equal(saving, full, tolerance)


@both_versions
@both_modes
@pytest.mark.parametrize(
    ('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=['64', '32']
)
def test_block_of_several_tiles_equals_full(use_grn, memory, dtype, tolerance):
    """4346 pixels: one tile ends within the first sample, another spans both samples."""
    x = torch.randn(2, 8, 41, 53).to(dtype)
    saving, full = (
        values(make_block(use_grn, mode, 8, drop_path=0.5).to(dtype), x)
        for mode in (memory, 'full')
    )
    assert_equal(saving, full, tolerance)


@both_versions
@both_modes
def test_gradcheck(use_grn, memory):
    block, x = (
        make_block(use_grn, memory, dim=3).double(),
        torch.randn(2, 3, 3, 2, dtype=torch.float64),
    )
    names, parameters = zip(*block.named_parameters(), strict=True)

    def call(x, *parameters):
        return torch.func.functional_call(block, dict(zip(names, parameters, strict=True)), x)

    assert block.why_full(x) == []
    assert torch.autograd.gradcheck(call, (x.requires_grad_(), *parameters), fast_mode=True)
    assert torch.autograd.gradcheck(call, (x, *(p.detach() for p in parameters)))


@both_versions
@both_modes
@half_precision
def test_autocast_errs_no_more_than_full(use_grn, memory, dtype):
    """At most twice as much, of each output and gradient, against fp64."""
    x = torch.randn(2, 16, 33, 40)
    true = values(make_block(use_grn, 'full', drop_path=0.5).double(), x.double())
    saving, full = (
        errors(values(make_block(use_grn, mode, drop_path=0.5), x, dtype), true)
        for mode in (memory, 'full')
    )
    for name, error in saving.items():
        assert error <= 2 * full[name] + 1e-7, (name, error, full[name])


@both_versions
@both_modes
@half_precision
def test_network_under_autocast_errs_no_more_than_full(use_grn, memory, dtype):
    image = torch.randn(2, 3, 64, 96)
    true = values(make(use_grn, 'full').double(), image.double())
    saving, full = (
        errors(values(make(use_grn, mode), image, dtype), true) for mode in (memory, 'full')
    )
    ratios = {name: error / full[name] for name, error in saving.items()}
    assert max(ratios.values()) <= 3, max(
        ratios.items(), key=lambda item: item[1]
    )  # a bias, the sum of a few roundings
    assert statistics.median(ratios.values()) <= 1.1


@both_versions
@both_modes
@half_precision
def test_a_model_in_half_precision_errs_no_more_than_full(use_grn, memory, dtype):
    x = torch.randn(2, 16, 20, 21)
    true = values(make_block(use_grn, 'full').double(), x.double())
    saving, full = (
        errors(values(make_block(use_grn, mode).to(dtype), x.to(dtype)), true)
        for mode in (memory, 'full')
    )
    for name, error in saving.items():
        assert error <= 2 * full[name], (name, error, full[name])


@both_versions
def test_bf16_sums_over_a_large_map_are_wide(use_grn):
    """On a CPU, torch sums the gradients w.r.t. LayerNorm's weights in bf16: 'full' is 13 % off."""
    x = torch.randn(1, 16, 160, 160)
    true = values(make_block(use_grn, 'full').double(), x.double())
    assert max(errors(values(make_block(use_grn), x, torch.bfloat16), true).values()) < 0.01


def read(name):
    with np.load(GOLDEN / f'{name}.npz') as file:
        return {key: torch.from_numpy(np.asarray(file[key])) for key in file.files}


@pytest.mark.parametrize('memory', ['low', 'full'])  # 'auto' in test_golden.py
def test_v1_is_the_authors(memory):
    golden, gradients = read('convnext_v1_dense'), read('convnext_v1_dense_grads')
    model = models.ConvNeXt(dict(depths=(2, 2, 3, 2), dims=(8, 16, 32, 64)), memory=memory)
    model.load_state_dict(
        {k.removeprefix('param/'): v for k, v in golden.items() if k.startswith('param/')}
    )
    image = golden['input'].requires_grad_()
    outputs = model(image)
    sum(
        (o * torch.linspace(-1, 1, o.numel()).view(o.shape)).sum() / 1000 for o in outputs
    ).backward()
    actual = {f'grad/{name}': p.grad for name, p in model.named_parameters()} | {
        'grad/input': image.grad
    }
    assert_equal(dict(enumerate(outputs)), {i: golden[f'output{i}'] for i in range(4)}, 1e-5)
    assert_equal(actual, {name: gradients[name] for name in actual}, 1e-5)


@pytest.mark.parametrize('memory', ['low', 'full'])
def test_v2_is_the_authors(memory):
    golden = read('convnext_v2_classifier')
    model = ConvNeXt(dict(depths=(2, 2, 3, 2), dims=(8, 16, 32, 64), use_grn=True), memory=memory)
    model.load_state_dict(
        {
            k.removeprefix('param/'): v
            for k, v in golden.items()
            if k.startswith(('param/stages', 'param/downsample'))
        }
    )
    outputs = model(golden['input'])
    assert_equal(dict(enumerate(outputs, 1)), {i: golden[f'output{i}'] for i in range(1, 5)}, 1e-5)


@both_modes
@pytest.mark.parametrize('gamma', [0, 1e-6, 1e3])
def test_any_layer_scale(memory, gamma):
    x = torch.randn(2, 16, 9, 11, dtype=torch.float64)
    saving, full = (
        values(make_block(memory=mode, gamma=gamma).double(), x) for mode in (memory, 'full')
    )
    assert ('gamma' in saving) == (gamma > 0)
    assert_equal(saving, full, 1e-12)


@both_modes
@pytest.mark.parametrize('use_grn, gamma', [(False, 1e-6), (False, 1.0), (True, 1.0)], ids=str)
def test_grad_scaler_in_fp16(use_grn, memory, gamma):
    """The first scale, 2**16, takes gradients past 65504 before layer scale is multiplied in."""
    x, results = torch.randn(2, 16, 33, 40), []
    for mode in (memory, 'full'):
        block = make_block(use_grn, mode, gamma=gamma)
        scaler, optimizer = (
            torch.amp.GradScaler('cpu', init_scale=2.0**16),
            torch.optim.SGD(block.parameters(), 0.0),
        )
        with torch.autocast('cpu', torch.float16):
            out = block(x)
        torch.manual_seed(2)
        scaler.scale(
            (out * torch.randn(out.shape, dtype=torch.float64).float() / max(1, 1e3 * gamma)).sum()
        ).backward()
        scaler.unscale_(optimizer)
        results.append({name: p.grad for name, p in block.named_parameters()})
    saving, full = results
    assert all(tensor.isfinite().all() for tensor in full.values())
    true = values(
        make_block(use_grn, 'full', gamma=gamma).double(),
        x.double(),
        factor=1 / max(1, 1e3 * gamma),
    )
    true = {name: true[name] for name in saving}
    saving, full = errors(saving, true), errors(full, true)
    for name, error in saving.items():
        assert error <= 2 * full[name], (name, error, full[name])
    assert use_grn or saving['gamma'] < 1e-2


@both_versions
@both_modes
def test_grad_scaler_skips_a_step_that_overflows(use_grn, memory):
    block, x = make_block(use_grn, memory), torch.randn(2, 16, 9, 11)
    before = [p.detach().clone() for p in block.parameters()]
    scaler, optimizer = (
        torch.amp.GradScaler('cpu', init_scale=2.0**16),
        torch.optim.SGD(block.parameters(), 1e-3),
    )
    for factor, changed in ((1e36, False), (1e-3, True)):
        with torch.autocast('cpu', torch.float16):
            out = block(x)
        optimizer.zero_grad()
        scaler.scale((out.float() * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert [
            not torch.equal(*pair) for pair in zip(block.parameters(), before, strict=True)
        ] == [changed] * len(before)
        assert scaler.get_scale() == 2.0**15


@both_versions
@both_modes
def test_dropped_samples_pass_by(use_grn, memory):
    block, x = make_block(use_grn, memory, drop_path=0.5), torch.randn(16, 16, 7, 5)
    block.train()
    out = values(block, x)
    torch.manual_seed(2)
    grad = torch.randn(x.shape, dtype=torch.float64).float()
    dropped = (out['output0'] == x).all((1, 2, 3))
    assert 2 < dropped.sum() < 14
    assert torch.equal((out['input'] == grad).all((1, 2, 3)), dropped)
    kept, whole = out['output0'][~dropped] - x[~dropped], block.eval()(x)[~dropped] - x[~dropped]
    torch.testing.assert_close(kept, 2 * whole, rtol=1e-4, atol=1e-5)
    assert not (block(x) == x).all((1, 2, 3)).any()


@both_modes
@half_precision
def test_drop_path_in_a_narrow_residual_stream_is_as_long(memory, dtype):
    """The factor 1 / (1 - p) is not rounded to the dtype of the input."""
    x, lengths = torch.randn(64, 16, 3, 3).to(dtype), []
    for mode in (memory, 'full'):
        block = make_block(memory=mode, drop_path=0.1, residual_dtype='float32').train()
        torch.manual_seed(3)
        with torch.autocast('cpu', dtype), torch.no_grad():
            branch = block(x) - x.float()
        lengths.append(branch.norm().item())
    assert lengths[0] == pytest.approx(lengths[1], rel=4e-4)


def saved_bytes(module, x, dtype=None):
    """Bytes of what autograd keeps, the input too, but not the parameters; each storage once."""
    parameters, kept = {tensor.untyped_storage().data_ptr() for tensor in module.parameters()}, {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast('cpu', dtype, enabled=dtype is not None),
    ):
        outputs = module(x)  # kept alive, so that no address is used twice
    del outputs
    return sum(size for pointer, size in kept.items() if pointer not in parameters)


@both_versions
@pytest.mark.parametrize('dtype', [None, torch.bfloat16], ids=['float32', 'bfloat16'])
@pytest.mark.parametrize(('memory', 'most'), [('half', 0.5), ('low', 0.2)])
def test_block_keeps_less(use_grn, dtype, memory, most):
    x = torch.randn(1, 96, 64, 64).contiguous(memory_format=torch.channels_last)
    saving, full = (
        saved_bytes(make_block(use_grn, mode, dim=96), x, dtype) for mode in (memory, 'full')
    )
    assert saving <= most * full


@pytest.mark.parametrize('dtype', [None, torch.bfloat16], ids=['float32', 'bfloat16'])
@pytest.mark.parametrize(('memory', 'most'), [('half', 0.55), ('low', 0.25)])
def test_backbone_keeps_less(dtype, memory, most):
    """Stem and downsampling keep what they always did."""
    image = torch.randn(1, 3, 192, 192)
    saving, full = (
        saved_bytes(
            ConvNeXt(dict(depths=(3, 3, 9, 3), dims=(24, 48, 96, 192)), memory=mode), image, dtype
        )
        for mode in (memory, 'full')
    )
    assert saving <= most * full


RESIDUAL = {
    None: torch.float32,
    'float32': torch.float32,
    'bfloat16': torch.bfloat16,
    'float16': torch.float16,
    torch.bfloat16: torch.bfloat16,
}


@pytest.mark.parametrize('memory', ['half', 'low', 'full'])
@pytest.mark.parametrize('residual_dtype', RESIDUAL)
def test_residual_dtype(memory, residual_dtype):
    model, image = make(False, memory, residual_dtype=residual_dtype), torch.randn(1, 3, 64, 64)
    seen = []
    expected = [o.detach() for o in model(image)]
    assert {o.dtype for o in expected} == {torch.float32}
    for block in (tensor for stage in model.stages for tensor in stage):
        block.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    with torch.autocast('cpu', torch.bfloat16):
        outputs = model(image)
    assert set(seen) == {RESIDUAL[residual_dtype]} and len(seen) == 5
    assert all(
        (o.float() - e).norm() < 0.03 * e.norm() for o, e in zip(outputs, expected, strict=True)
    )
    sum(o.float().square().mean() for o in outputs).backward()
    assert all(
        p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters()
    )


@pytest.mark.parametrize(
    'make_one',
    [
        lambda **kwargs: ConvNeXtBlock(8, **kwargs),
        lambda **kwargs: ConvNeXt(V1, **kwargs),
        lambda **kwargs: models.ConvNeXt(V1, **kwargs),
    ],
    ids=['block', 'trunk', 'backbone'],
)
@pytest.mark.parametrize(
    'name, value',
    [
        ('memory', 'saving'),
        ('memory', None),
        ('memory', ['low']),
        ('residual_dtype', 'float64'),
        ('residual_dtype', ['float32']),
        ('residual_dtype', torch.int8),
        ('residual_dtype', True),
    ],
)
def test_bad_arguments(make_one, name, value):
    with pytest.raises(ValueError, match=f'{name} must be .*; got '):
        make_one(**{name: value})
