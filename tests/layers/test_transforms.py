"""The block inside autograd, torch.func, compilers, checkpointing, replicas, hooks and copies."""

import copy
import json
import pickle
import subprocess
import sys
import textwrap

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

from convnext_dense.layers import ConvNeXt, ConvNeXtBlock
from convnext_dense.ops import CpuOps, matmul

V1 = dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))
V2 = V1 | dict(use_grn=True)
both_versions = pytest.mark.parametrize('use_grn', [False, True], ids=['v1', 'v2'])
both_modes = pytest.mark.parametrize('memory', ['half', 'low'])


@pytest.fixture
def x():
    return torch.randn(2, 8, 9, 11)


def make_block(use_grn=False, memory='half', **kwargs):
    torch.manual_seed(0)
    block = ConvNeXtBlock(
        8, memory=memory, use_grn=use_grn, layer_scale_init_value=0 if use_grn else 1.0, **kwargs
    )
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return block


def make(use_grn=False, memory='half', **kwargs):
    torch.manual_seed(0)
    return ConvNeXt(V2 if use_grn else V1, memory=memory, **kwargs)


def gradients(module, x, **kwargs):
    """Output, and gradients w.r.t. the input and the parameters that require one."""
    torch.manual_seed(1)
    out = module(x)
    wanted = [one for one in (x, *module.parameters()) if one.requires_grad]
    return [out, *torch.autograd.grad(out.square().sum(), wanted, **kwargs)]


def assert_close(actual, expected):
    torch.testing.assert_close(list(actual), list(expected), rtol=1e-4, atol=1e-4)


def in_full(block):
    full = copy.deepcopy(block)
    full.memory = 'full'
    return full


@both_versions
@both_modes
def test_backward_twice_gives_the_same(use_grn, memory, x):
    block = make_block(use_grn, memory, drop_path=0.5)
    loss = block(x.requires_grad_()).square().sum()
    wanted = [x, *block.parameters()]
    first = torch.autograd.grad(loss, wanted, retain_graph=True)
    assert all(map(torch.equal, first, torch.autograd.grad(loss, wanted)))


@both_versions
@both_modes
def test_second_and_batched_derivatives_are_refused_and_full_has_them(use_grn, memory, x):
    block = make_block(use_grn, memory)
    with pytest.raises(RuntimeError, match=r"is_grads_batched=True.*memory='full'"):
        torch.autograd.grad(
            block(x), list(block.parameters()), torch.ones(3, *x.shape), is_grads_batched=True
        )
    block = make_block(use_grn, 'full')
    torch.autograd.grad(
        block(x), list(block.parameters()), torch.ones(3, *x.shape), is_grads_batched=True
    )
    with pytest.raises(RuntimeError, match=r"create_graph=True.*memory='full'"):
        gradients(make_block(use_grn, memory), x, create_graph=True)
    x, block = x[:1, :, :3, :3].double().requires_grad_(), make_block(use_grn, 'full').double()
    assert torch.autograd.gradgradcheck(block, x, fast_mode=True)


@both_modes
@pytest.mark.parametrize(
    'trainable', [[], ['pwconv2'], ['norm'], ['dwconv', 'gamma'], ['gamma']], ids=str
)
def test_only_some_parameters_learn(memory, trainable, x):
    block = make_block(memory=memory)
    for name, parameter in block.named_parameters():
        parameter.requires_grad_(name.startswith(tuple(trainable)))
    x.requires_grad_(not trainable)
    assert_close(gradients(block, x), gradients(in_full(block), x))
    assert all((p.grad is None) for p in block.parameters())


@both_versions
@both_modes
def test_frozen_weights_cost_no_products(use_grn, memory, x, monkeypatch):
    """As where an adapter before the block learns alone."""
    block = make_block(use_grn, memory).requires_grad_(False)
    x.requires_grad_()
    expected = gradients(in_full(block), x)
    for name in ('linear_weight_grad', 'depthwise_weight_grad'):
        monkeypatch.setattr(CpuOps, name, None)
    assert_close(gradients(block, x), expected)


@both_modes
@pytest.mark.parametrize('with_cp', [False, True])
def test_frozen_stages_keep_nothing(memory, with_cp):
    model = make(memory=memory, frozen_stages=2, drop_path_rate=0.5, with_cp=with_cp).train()
    for i, stage in enumerate(model.stages):
        kept = []

        def keep(tensor, kept=kept):
            kept.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            stage(torch.randn(1, V1['dims'][i], 8, 8))
        assert bool(kept) == (i >= 2)
    outputs = model(torch.randn(1, 3, 64, 64))
    assert [o.requires_grad for o in outputs] == [False, False, True, True]
    sum(o.square().mean() for o in outputs).backward()
    assert {n.split('.')[1] for n, p in model.named_parameters() if p.grad is not None} == {
        '2',
        '3',
    }


@both_versions
@both_modes
def test_transforms_of_torch_func(use_grn, memory, x):
    block = make_block(use_grn, memory)
    parameters = dict(block.named_parameters())

    def loss(parameters, x):
        return torch.func.functional_call(block, parameters, x).square().sum()

    expected = gradients(block, x)[1:]
    assert_close(torch.func.grad(loss)(parameters, x).values(), expected)
    one_by_one = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x[:, None])
    assert_close([one.sum(0) for one in one_by_one.values()], expected)
    _, slope = torch.func.jvp(block, (x,), (torch.ones_like(x),))
    torch.testing.assert_close(
        slope, (block(x + 5e-4) - block(x - 5e-4)) / 1e-3, rtol=1e-2, atol=2e-2
    )
    with torch.autograd.forward_ad.dual_level():
        dual = block(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(dual).tangent, slope)


def test_transforms_of_a_network():
    """In 'low' downsampling is computed again too."""
    model, image = make(memory='low', layer_scale_init_value=1.0), torch.randn(2, 3, 32, 32)

    def loss(parameters):
        return sum(o.square().sum() for o in torch.func.functional_call(model, parameters, image))

    parameters = dict(model.named_parameters())
    expected = torch.autograd.grad(loss(parameters), list(parameters.values()))
    assert_close(torch.func.grad(loss)(parameters).values(), expected)
    slopes = torch.func.jvp(model, (image,), (torch.ones_like(image),))[1]
    with torch.autograd.forward_ad.dual_level():
        outputs = model(torch.autograd.forward_ad.make_dual(image, torch.ones_like(image)))
        assert_close([torch.autograd.forward_ad.unpack_dual(o).tangent for o in outputs], slopes)
    compiled = torch.compile(loss, fullgraph=True, backend='aot_eager')
    assert_close(torch.autograd.grad(compiled(parameters), list(parameters.values())), expected)


@both_versions
@both_modes
@pytest.mark.filterwarnings(
    'ignore:`torch.jit.trace:DeprecationWarning', 'ignore:`torch.jit:DeprecationWarning'
)
def test_traced_and_exported_equal(use_grn, memory, x):
    block = make_block(use_grn, memory).eval()
    wider = torch.randn(3, 8, 12, 7)
    sizes = {0: torch.export.Dim('n'), 2: torch.export.Dim('h'), 3: torch.export.Dim('w')}
    for run in (
        torch.jit.trace(block, x),
        torch.export.export(block, (x,), dynamic_shapes=(sizes,)).module(),
    ):
        torch.testing.assert_close(run(wider), block(wider))


@both_versions
@both_modes
@pytest.mark.parametrize('autocast', [False, True], ids=['float32', 'autocast'])
def test_compiled_in_one_graph(use_grn, memory, autocast, x):
    block = make_block(use_grn, memory)
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        expected = gradients(block, x.requires_grad_())
        compiled = torch.compile(block, fullgraph=True, backend='aot_eager')
        for actual, one in zip(gradients(compiled, x), expected, strict=True):
            assert (actual - one).norm() < (0.03 if autocast else 1e-5) * one.norm()


@both_versions
@pytest.mark.parametrize('memory', ['half', 'low', 'full'])
@pytest.mark.parametrize('drop_path', [0.0, 0.5])
@pytest.mark.parametrize(
    'dtype', [None, torch.bfloat16, torch.float16], ids=['float32', 'bfloat16', 'float16']
)
def test_checkpointing_recomputes_the_same(use_grn, memory, drop_path, dtype, x):
    block = make_block(use_grn, memory, drop_path=drop_path)
    with torch.autocast('cpu', dtype, enabled=dtype is not None):
        expected = gradients(block, x.requires_grad_())
        actual = gradients(_Checkpointed(block), x)
    assert all(map(torch.equal, actual, expected))


class _Checkpointed(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.block = block

    def forward(self, x):
        return checkpoint(self.block, x, use_reentrant=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    'settings',
    [
        dict(memory='half'),
        dict(memory='low'),
        dict(memory='full'),
        dict(memory='half'),
        dict(memory='half', use_grn=True, with_cp=True),
        dict(memory='low', use_grn=True, frozen_stages=1),
        dict(memory='half', dtype='bfloat16'),
    ],
    ids=lambda settings: ' '.join(map(str, settings.values())),
)
def test_two_replicas_equal_one_model_with_both_batches(settings, tmp_path):
    """Two steps; a warning, of the strides of gradients for instance, ends a replica."""
    code = textwrap.dedent("""
        import json, sys, warnings
        import torch
        warnings.simplefilter('error')
        from convnext_dense.layers import ConvNeXt
        folder, rank, settings = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
        dtype = getattr(torch, settings.pop('dtype', 'float32'))
        arch = dict(depths=(1, 1), dims=(8, 16), use_grn=settings.pop('use_grn', False))
        torch.set_num_threads(1)
        torch.manual_seed(0)
        model = ConvNeXt(arch, layer_scale_init_value=0 if arch['use_grn'] else 1., **settings)
        images = torch.randn(2, 2, 3, 32, 32)
        if rank < 2:
            torch.distributed.init_process_group(
                'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
            model = torch.nn.parallel.DistributedDataParallel(model)
            images = images[:, rank:rank + 1]
        optimizer = torch.optim.SGD(model.parameters(), .1)
        for image in images:
            optimizer.zero_grad()
            with torch.autocast('cpu', dtype, enabled=dtype != torch.float32):
                outputs = model(image)
            sum(o.float().square().mean() for o in outputs).backward()
            optimizer.step()
        learned = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
        torch.save(learned, f'{folder}/{rank}.pt')
        """)
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', code, str(tmp_path), str(rank), json.dumps(settings)]
        )
        for rank in range(3)
    ]
    assert [process.wait(120) for process in processes] == [0, 0, 0]
    first, second, whole = (torch.load(tmp_path / f'{rank}.pt') for rank in range(3))
    assert torch.equal(first, second)
    torch.testing.assert_close(first, whole, rtol=1e-5, atol=1e-3 if 'dtype' in settings else 1e-6)


@both_modes
@pytest.mark.parametrize('way', ['convolution', 'transposed convolution', 'matmul'])
def test_gradients_have_the_strides_of_their_parameters(memory, way, x, monkeypatch):
    weight_grad = matmul.METHODS['weight_grad'][way]
    monkeypatch.setattr(
        matmul, 'weight_grad', lambda grad, x: weight_grad(grad.flatten(0, -2), x.flatten(0, -2))
    )
    block = make_block(memory=memory)
    block(x).sum().backward()
    assert all(p.grad.stride() == p.stride() for p in block.parameters())


@both_modes
def test_copies_and_state(memory, x, tmp_path):
    model = make(memory=memory, residual_dtype='bfloat16').optimize_for_inference()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        expected = model(image)
    torch.save(model, tmp_path / 'model.pt')
    for other in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(tmp_path / 'model.pt', weights_only=False),
    ):
        assert (
            other.stages[0][0].memory == memory
            and other.stages[0][0].residual_dtype is torch.bfloat16
        )
        with torch.no_grad():
            assert all(map(torch.equal, other(image), expected))
    assert list(model.state_dict()) == list(make(memory='full').state_dict())


class _LowRank(nn.Linear):
    """As adapters for fine-tuning do: the layer's own product and a narrow one."""

    def __init__(self, layer):
        super().__init__(layer.in_features, layer.out_features)
        self.load_state_dict(layer.state_dict())
        self.narrow = nn.Parameter(torch.ones(layer.out_features, 1) * 0.1)

    def forward(self, x):
        return super().forward(x) + x.sum(-1, keepdim=True) @ self.narrow.t()


class _Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def _replace(name, make_part):
    return lambda block: setattr(block, name, make_part(getattr(block, name)))


def _patched(block):
    forward = block.pwconv1.forward
    block.pwconv1.forward = lambda x: 2 * forward(x)


def _subclassed(block):
    block.pwconv2.weight = nn.Parameter(
        block.pwconv2.weight.detach().as_subclass(type('Weight', (torch.Tensor,), {}))
    )


CHANGES = dict(
    hook=(
        lambda block: block.pwconv1.register_forward_hook(lambda module, args, out: 2 * out),
        'pwconv1',
    ),
    pre_hook=(
        lambda block: block.norm.register_forward_pre_hook(lambda module, args: (args[0] ** 2,)),
        'norm',
    ),
    backward_hook=(
        lambda block: block.pwconv2.register_full_backward_hook(
            lambda module, grad, _: (2 * grad[0],)
        ),
        'pwconv2',
    ),
    adapter=(_replace('pwconv1', _LowRank), 'pwconv1'),
    parametrization=(
        lambda block: parametrize.register_parametrization(block.dwconv, 'weight', _Doubled()),
        'dwconv',
    ),
    other_part=(_replace('pwconv1', lambda layer: nn.Sequential(layer, nn.ReLU())), 'pwconv1'),
    other_drop_path=(
        lambda block: setattr(block, 'drop_path', StochasticDepth(0.99, 'row')),
        'drop_path',
    ),
    patched=(_patched, 'pwconv1'),
    wrapped_conv=(_replace('dwconv', lambda layer: nn.Sequential(layer, nn.ReLU())), 'dwconv'),
    circular=(lambda block: setattr(block.dwconv, 'padding_mode', 'circular'), 'zero padding'),
    no_bias=(lambda block: setattr(block.dwconv, 'bias', None), 'no weight or bias'),
    replaced_norm=(
        _replace(
            'norm', lambda layer: nn.LayerNorm(layer.normalized_shape, elementwise_affine=False)
        ),
        'no weight or bias',
    ),
    subclass=(_subclassed, 'a weight is a Weight'),
    wide_norm=(
        lambda block: (block.bfloat16(), block.norm.float()),
        'torch.bfloat16 and torch.float32',
    ),
)


@pytest.mark.parametrize('change', CHANGES)
def test_a_changed_part_runs_as_it_is(change, x):
    block = make_block()
    assert block.why_full(x) == []
    before = gradients(block, x.requires_grad_())[:2]
    CHANGES[change][0](block)
    x = x.detach().to(block.pwconv2.weight.dtype).requires_grad_()
    (reason,) = block.why_full(x)
    assert CHANGES[change][1] in reason
    actual, block.memory = gradients(block, x), 'full'
    assert all(map(torch.equal, actual, gradients(block, x)))
    if change not in ('subclass', 'wide_norm'):
        assert not torch.allclose(actual[1], before[1], rtol=1e-3)


def test_float64_stays_so_under_autocast(x):
    block = make_block().double()
    with torch.autocast('cpu', torch.bfloat16):
        assert 'torch.float64' in block.why_full(x.double())[0]
        assert torch.equal(block(x.double()), in_full(block)(x.double()))


@both_versions
@both_modes
def test_any_strides(use_grn, memory):
    block, whole = make_block(use_grn, memory), torch.randn(4, 10, 14, 12)
    part = whole[::2, 1:9, 2:11, ::2]
    expected = gradients(block, part.clone(memory_format=torch.contiguous_format).requires_grad_())
    turned = part.transpose(2, 3).contiguous().transpose(2, 3)
    for x in (part, part.contiguous(memory_format=torch.channels_last), turned):
        assert_close(gradients(block, x.detach().requires_grad_()), expected)


@both_versions
@pytest.mark.parametrize('memory', ['half', 'low', 'full'])
def test_no_images(use_grn, memory):
    model = make(use_grn, memory, drop_path_rate=0.5).train()
    outputs = model(torch.randn(0, 3, 64, 64))
    assert [tuple(o.shape) for o in outputs] == [
        (0, 8, 16, 16),
        (0, 16, 8, 8),
        (0, 24, 4, 4),
        (0, 32, 2, 2),
    ]
    sum(o.sum() for o in outputs).backward()
    assert all(not p.grad.any() for p in model.parameters())


@both_versions
@both_modes
def test_smallest_image(use_grn, memory):
    """One pixel at the last stage."""
    image, results = torch.randn(1, 3, 32, 32), []
    for mode in (memory, 'full'):
        model = make(use_grn, mode)
        outputs = model(image)
        sum(o.square().sum() for o in outputs).backward()
        results.append([*outputs, *(p.grad for p in model.parameters())])
    assert_close(*results)


def test_a_dilated_block_falls_back_to_full():
    model, image = make(output_stride=8), torch.randn(1, 3, 64, 64)
    assert model.stages[3][0].why_full(torch.randn(1, 32, 8, 8)) == [
        'the depthwise convolution is dilated by 4'
    ]
    assert_close(model(image), make(output_stride=8, memory='full')(image))


@both_modes
def test_another_default_device(memory, x):
    """What a block makes for itself lies where its input does."""
    block = make_block(memory=memory, drop_path=0.5)
    expected = gradients(block, x.requires_grad_())
    with torch.device('meta'):
        assert all(map(torch.equal, gradients(block, x), expected))


def test_an_input_that_is_a_parameter_keeps_the_memory_mode(x):
    assert make_block().why_full(nn.Parameter(x)) == []
