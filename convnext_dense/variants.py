"""The published ConvNeXt variants, a row each: the only source of their depths and widths."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Variant:
    """Shape of a ConvNeXt trunk.

    Args:
        depths: blocks in each stage; every published variant has four stages.
        dims: channels C of each stage, of the same length.
        use_grn: whether each block has Global Response Normalization instead of layer scale
            (ConvNeXt V2).
        norm_eps: epsilon of every LayerNorm.

    Raises:
        ValueError: ``depths`` and ``dims`` differ in length, are empty, or hold anything but
            positive integers; ``use_grn`` or ``norm_eps`` is out of range.
    """

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    use_grn: bool = False
    norm_eps: float = 1e-6

    def __post_init__(self):
        for name in ('depths', 'dims'):
            value = getattr(self, name)
            if not _are_positive_integers(value):
                raise ValueError(
                    f'{name} must be a sequence of positive integers, one for each stage; '
                    f'got {value!r}'
                )
            # Configs give lists. Only this way can a frozen dataclass set a field.
            object.__setattr__(self, name, tuple(value))
        if not isinstance(self.use_grn, bool) or not 0 < self.norm_eps < 1:
            raise ValueError(
                'use_grn must be True or False and norm_eps a small positive number; '
                f'got use_grn={self.use_grn!r}, norm_eps={self.norm_eps!r}'
            )
        if len(self.depths) != len(self.dims):
            raise ValueError(
                f'depths and dims must have one entry for each stage; got depths={self.depths} '
                f'({len(self.depths)}) and dims={self.dims} ({len(self.dims)})'
            )

    @property
    def layer_scale_init_value(self) -> float:
        """The papers' initial layer scale: 1e-6 in V1, 0 (none) in V2, which has GRN instead."""
        return 0.0 if self.use_grn else 1e-6


def _are_positive_integers(values: Sequence[int]) -> bool:
    if isinstance(values, (str, bytes)):
        return False
    return len(values) > 0 and all(type(value) is int and value > 0 for value in values)


def _widths(dim: int) -> tuple[int, ...]:
    """Channels of the four stages, doubled from stage to stage."""
    return dim, 2 * dim, 4 * dim, 8 * dim


# V1 tiny to xlarge: arXiv:2201.03545 section 3;
#   facebookresearch/ConvNeXt models/convnext.py @ 048efce.
# V2: arXiv:2301.00808 table 11 (appendix);
#   facebookresearch/ConvNeXt-V2 models/convnextv2.py @ 2553895.
# V1 atto to nano, xxlarge and V2 small:
#   huggingface/pytorch-image-models timm/models/convnext.py @ v1.0.31.
VARIANTS: dict[str, Variant] = {
    'atto': Variant((2, 2, 6, 2), _widths(40)),
    'femto': Variant((2, 2, 6, 2), _widths(48)),
    'pico': Variant((2, 2, 6, 2), _widths(64)),
    'nano': Variant((2, 2, 8, 2), _widths(80)),
    'tiny': Variant((3, 3, 9, 3), _widths(96)),
    'small': Variant((3, 3, 27, 3), _widths(96)),
    'base': Variant((3, 3, 27, 3), _widths(128)),
    'large': Variant((3, 3, 27, 3), _widths(192)),
    'xlarge': Variant((3, 3, 27, 3), _widths(256)),
    'xxlarge': Variant((3, 4, 30, 3), _widths(384), norm_eps=1e-5),
    'v2_atto': Variant((2, 2, 6, 2), _widths(40), use_grn=True),
    'v2_femto': Variant((2, 2, 6, 2), _widths(48), use_grn=True),
    'v2_pico': Variant((2, 2, 6, 2), _widths(64), use_grn=True),
    'v2_nano': Variant((2, 2, 8, 2), _widths(80), use_grn=True),
    'v2_tiny': Variant((3, 3, 9, 3), _widths(96), use_grn=True),
    'v2_small': Variant((3, 3, 27, 3), _widths(96), use_grn=True),
    'v2_base': Variant((3, 3, 27, 3), _widths(128), use_grn=True),
    'v2_large': Variant((3, 3, 27, 3), _widths(192), use_grn=True),
    'v2_huge': Variant((3, 3, 27, 3), _widths(352), use_grn=True),
}


def get_variant(arch: str | Mapping | Variant) -> Variant:
    """Return the variant that ``arch`` stands for.

    Args:
        arch: a name in ``VARIANTS``, a mapping of the fields of ``Variant``, or a ``Variant``.

    Raises:
        ValueError: the name is unknown, or the mapping has missing, unknown or invalid fields.
        TypeError: ``arch`` is none of the three.
    """
    if isinstance(arch, Variant):
        return arch
    if isinstance(arch, str):
        if arch in VARIANTS:
            return VARIANTS[arch]
        close = difflib.get_close_matches(arch, VARIANTS, n=1)
        hint = ''
        if close:
            hint = f' Did you mean {close[0]!r}?'
        raise ValueError(
            f'unknown arch {arch!r}.{hint} Choose one of {", ".join(VARIANTS)}, '
            'or pass dict(depths=(...), dims=(...), use_grn=False).'
        )
    if isinstance(arch, Mapping):
        known = {field.name for field in fields(Variant)}
        missing = {'depths', 'dims'} - set(arch)
        unknown = set(arch) - known
        if missing or unknown:
            raise ValueError(
                f'arch as a dict takes {sorted(known)}, depths and dims being required; '
                f'missing {sorted(missing)}, unknown {sorted(unknown)}'
            )
        return Variant(**arch)
    raise TypeError(
        f'arch must be a name, a dict or a Variant; got {type(arch).__name__}: {arch!r}'
    )
