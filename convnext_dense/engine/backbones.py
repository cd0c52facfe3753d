"""Finds ConvNeXt backbones and their parameters anywhere in a model, whatever it is wrapped in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmengine.model import is_model_wrapper
from torch import nn

# Child of torch.compile's, the activation checkpointing and the FSDP wrapper; names without it are the model's own.
_WRAPPED = ('_orig_mod', '_checkpoint_wrapped_module', '_fsdp_wrapped_module')


def named_modules(model: nn.Module, prefix: str = '') -> Iterator[tuple[str, nn.Module]]:
    """(name, module) of the model and all below it, parents first; wrappers leave no trace in the names.

    A module that is registered twice comes twice.
    """
    yield prefix, model
    for name, child in model.named_children():
        is_wrapper = name in _WRAPPED or (name == 'module' and is_model_wrapper(model))
        yield from named_modules(child, prefix if is_wrapper else _join(prefix, name))


def named_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """(name, parameter) with the names of :func:`named_modules`; a shared parameter comes once, by its first name."""
    seen = set()
    for prefix, module in named_modules(model):
        for name, param in module.named_parameters(recurse=False):
            if id(param) not in seen:
                seen.add(id(param))
                yield _join(prefix, name), param


def find_backbones(model: nn.Module) -> dict[str, nn.Module]:
    """Every ConvNeXt backbone in ``model``, by name; the name is '' where the model itself is one.

    A backbone is any module with the children ``downsample_layers`` and ``stages`` and with ``depths``, a sequence of
    integers: ours, the authors' V2, mmpretrain's.

    Raises:
        ValueError: there is none.
    """
    found, seen = {}, set()
    for name, module in named_modules(model):
        if _is_backbone(module) and id(module) not in seen:
            seen.add(id(module))
            found[name] = module
    if not found:
        children = ', '.join(name for name, _ in model.named_children()) or 'no children'
        raise ValueError(
            'layer-wise learning-rate decay found no ConvNeXt backbone: looked for a module with the '
            'children downsample_layers and stages and with depths, a sequence of integers, in '
            f'{type(model).__name__} ({children}). Use convnext_dense.ConvNeXt as the backbone, or '
            'another optim_wrapper.constructor.'
        )
    return found


def _is_backbone(module: nn.Module) -> bool:
    # Not hasattr: wrappers forward attributes, so they would look like the backbone that they hold.
    if not {'downsample_layers', 'stages'} <= module._modules.keys():
        return False
    depths = getattr(module, 'depths', None)
    return (
        isinstance(depths, Sequence)
        and len(depths) > 0
        and all(isinstance(depth, int) for depth in depths)
    )


def _join(prefix: str, name: str) -> str:
    return f'{prefix}.{name}' if prefix else name
