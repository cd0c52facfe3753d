"""Finds ConvNeXt backbones and their parameters in a model, also inside wrappers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mmengine.model import is_model_wrapper
from torch import nn

# The child that torch.compile, activation checkpointing and FSDP put between a module and its
# wrapper. Names without it are the model's own.
_WRAPPED = ('_orig_mod', '_checkpoint_wrapped_module', '_fsdp_wrapped_module')


def named_modules(model: nn.Module, prefix: str = '') -> Iterator[tuple[str, nn.Module]]:
    """Yield (name, module) of the model and everything below it, parents first.

    Wrappers leave no trace in the names. A module that is registered twice comes twice.

    Args:
        model: where to begin.
        prefix: name of ``model``.
    """
    yield prefix, model
    for name, child in model.named_children():
        is_wrapped = name in _WRAPPED or (name == 'module' and is_model_wrapper(model))
        child_name = prefix if is_wrapped else _join(prefix, name)
        yield from named_modules(child, child_name)


def named_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield (name, parameter) with the names of :func:`named_modules`.

    A shared parameter comes once, by its first name.
    """
    seen: set[int] = set()
    for prefix, module in named_modules(model):
        for name, param in module.named_parameters(recurse=False):
            if id(param) not in seen:
                seen.add(id(param))
                yield _join(prefix, name), param


def find_backbones(model: nn.Module) -> dict[str, nn.Module]:
    """Find all ConvNeXt backbones in a model.

    A backbone is a module with the children ``downsample_layers`` and ``stages`` and the attribute
    ``depths``, a sequence of integers. Ours, the authors' V2 and mmpretrain's are of this form.

    Returns:
        {name: backbone}; the name is '' if the model itself is a backbone.

    Raises:
        ValueError: there is none.
    """
    found: dict[str, nn.Module] = {}
    for name, module in named_modules(model):
        is_known = any(module is backbone for backbone in found.values())
        if _is_backbone(module) and not is_known:
            found[name] = module
    if not found:
        children = ', '.join(name for name, _ in model.named_children()) or 'no children'
        raise ValueError(
            'layer-wise learning-rate decay found no ConvNeXt backbone: looked for a module with '
            'the children downsample_layers and stages and with depths, a sequence of integers, in '
            f'{type(model).__name__} ({children}). Use convnext_dense.ConvNeXt as the backbone, or '
            'another optim_wrapper.constructor.'
        )
    return found


def _is_backbone(module: nn.Module) -> bool:
    # Not hasattr: wrappers forward attributes, so they would look like the backbone they hold.
    children = dict(module.named_children())
    if 'downsample_layers' not in children or 'stages' not in children:
        return False
    depths = getattr(module, 'depths', None)
    if not isinstance(depths, Sequence) or not depths:
        return False
    return all(isinstance(depth, int) for depth in depths)


def _join(prefix: str, name: str) -> str:
    return f'{prefix}.{name}' if prefix else name
