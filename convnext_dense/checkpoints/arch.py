"""The epsilon of a file's family, compared with a module's; and what a module's arch is called."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from convnext_dense.checkpoints.trunk import Trunk, measure_trunk
from convnext_dense.variants import VARIANTS

# timm's test models. Source: huggingface/pytorch-image-models timm/models/convnext.py @ v1.0.31.
_TEST_MODELS = {((1, 2, 4, 2), (24, 32, 48, 64)): 1e-5, ((1, 1, 1, 1), (32, 64, 96, 128)): 1e-5}
_TRANSFORMERS_FINAL_EPS = 1e-12


def name_arch(module: nn.Module, own: Mapping[str, Tensor], at: str) -> str:
    """As ``Trunk.arch``, of the whole arch where the module says it: stages that are not built count too."""
    variant = getattr(module.get_submodule(at.removesuffix('.')), 'variant', None)
    if variant is None:
        return measure_trunk(own, at).arch
    return Trunk(variant.depths, variant.dims, variant.use_grn, not variant.use_grn, 3).arch


def note_eps(module: nn.Module, trunk: Trunk, layout: str, final_norm: bool) -> tuple[str, ...]:
    """A line for each epsilon that is not the same in ``module`` and in the family of the file.

    ``final_norm``: the module has the norm behind the pooling, and got the file's.
    """
    own = {norm.eps for norm in module.modules() if isinstance(norm, nn.LayerNorm)}
    here, family = ', '.join(f'{eps:g}' for eps in sorted(own)), _family_eps(trunk)
    notes = []
    if own - {family}:
        notes.append(
            f'LayerNorm epsilon is {here} in the model, {family:g} in the family of the file: '
            f'arch=dict(depths=..., dims=..., norm_eps={family:g}) gives the same outputs'
        )
    if layout == 'transformers' and final_norm:
        notes.append(
            f'transformers computes the final norm with epsilon {_TRANSFORMERS_FINAL_EPS:g}, the model '
            f'with {here}'
        )
    return tuple(notes)


def _family_eps(trunk: Trunk) -> float:
    for variant in VARIANTS.values():
        if (variant.depths, variant.dims, variant.use_grn) == (
            trunk.depths,
            trunk.dims,
            trunk.use_grn,
        ):
            return variant.norm_eps
    return _TEST_MODELS.get((trunk.depths, trunk.dims), 1e-6)
