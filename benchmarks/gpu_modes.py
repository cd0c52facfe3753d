"""What the modes of our block do to results, memory and time, beside the peers."""

from __future__ import annotations

import functools

import torch
from gpu_backbones import OUR_NAMES, Form, arch_of, kernels, make_step
from gpu_run import Run

from convnext_dense.benchmark.networks import build
from convnext_dense.models import ConvNeXt
from convnext_dense.variants import get_variant

RESIDUALS = (None, 'bfloat16')


def measure_agreement(run: Run, arch: str) -> None:
    """Into ``agreement``: relative errors of maps and gradients under autocast; 'plain' shows what autocast does."""
    place = run.at('agreement', arch)
    for memory in ('plain', 'default', 'low'):
        for choice in ('torch',) if memory == 'plain' else ('torch', 'triton'):
            run.item(
                place,
                f'{memory}, kernels {choice}',
                functools.partial(_errors, run, arch, memory, choice),
            )


def _errors(run: Run, arch: str, memory: str, choice: str) -> dict:
    # Layer scale near 1 lets the blocks be seen; that of a new network, 1e-6, would hide them.
    made = functools.partial(ConvNeXt, arch_of(run, arch), layer_scale_init_value=0.5)
    torch.manual_seed(0)
    with torch.device(run.device):
        model, exact = made(memory=memory), made(memory='plain')
        images = torch.randn(2, 3, *([32, 32] if run.toy else [256, 224]))
    exact.load_state_dict(model.state_dict())
    with kernels(run, choice):
        ours = _maps_and_gradients(model, images, torch.autocast(run.device, run.dtype))
    theirs = _maps_and_gradients(exact, images, torch.autocast(run.device, enabled=False))
    return {
        name: float(torch.linalg.vector_norm(ours[name] - true) / torch.linalg.vector_norm(true))
        for name, true in theirs.items()
    }


def _maps_and_gradients(model, images, autocast) -> dict[str, torch.Tensor]:
    with autocast:
        maps = model(images)
    torch.manual_seed(1)
    torch.autograd.backward(maps, [torch.randn(y.shape, device=y.device).to(y.dtype) for y in maps])
    return {
        'maps': torch.cat([y.detach().float().flatten() for y in maps]),
        'gradients': torch.cat([one.grad.flatten() for one in model.parameters()]),
    }


def measure_memory(run: Run, arch: str) -> None:
    """Into ``memory``: bytes kept for backward and the peak of a training step, each network eager, channels_last."""
    shape = run.report['settings']['shapes'][0]
    place = run.at('memory', f'{arch} {"x".join(map(str, shape))}')
    for name in (*run.report['settings']['peers'], *OUR_NAMES):
        for choice in (
            ('torch',)
            if name in ('ours plain', *run.report['settings']['peers'])
            else ('torch', 'triton')
        ):
            label = name if choice == 'torch' else f'{name}, kernels {choice}'
            run.item(
                place,
                label,
                functools.partial(_bytes, run, arch, shape, Form(name, kernels=choice)),
            )
            run.free()


def _bytes(run: Run, arch: str, shape, form: Form) -> dict:
    def deep(blocks: int):
        """Kept by a network with so many blocks in each stage."""
        return make_step(
            run,
            form,
            arch,
            shape,
            True,
            lambda name, given, *_: build(
                name, dict(depths=(blocks,) * 4, dims=get_variant(given).dims)
            ),
        ).count_saved()

    with kernels(run, form.kernels):
        step = make_step(run, form, arch, shape, training=True)
        found = {'saved_bytes': step.count_saved(), 'peak_bytes': step.measure_peak()}
        del step
        if form.kernels != 'triton':  # what is kept does not depend on who computes it
            found['block_bytes'] = deep(2) - deep(1)  # one block of each stage, and nothing else
        return found


def measure_residual(run: Run, arch: str) -> None:
    """Into ``residual_dtype``: time and memory of our default mode with the residual stream in fp32 and in bf16."""
    for shape in run.report['settings']['shapes']:
        for training in (True, False):
            size = 'x'.join(map(str, shape))
            run.item(
                run.at('residual_dtype'),
                f'{arch} {size} {"training step" if training else "inference"}',
                functools.partial(_residuals, run, arch, shape, training),
                needs=6.0,
            )


def _residuals(run: Run, arch: str, shape, training: bool) -> dict:
    calls, found = {}, {}
    for choice in ('torch', 'triton'):
        for residual in RESIDUALS:
            label, form = f'{residual}, kernels {choice}', Form('ours', kernels=choice)
            with kernels(run, choice):
                step = make_step(
                    run,
                    form,
                    arch,
                    shape,
                    training,
                    lambda _, given, *rest: ConvNeXt(given, residual_dtype=residual),
                )
                found[label] = {
                    'saved_bytes': step.count_saved(),
                    'peak_bytes': step.measure_peak(),
                }
            calls[label] = functools.partial(_call, run, choice, step)
    for label, ms in run.times(calls, seconds=2).items():
        found[label]['ms'] = ms
    return found


def _call(run: Run, choice: str, step) -> None:
    with kernels(run, choice):
        step.run()
