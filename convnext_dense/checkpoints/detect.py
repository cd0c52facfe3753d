"""Recognize a state dict: whose names it has, and where in it the ConvNeXt is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from convnext_dense.checkpoints.layouts import LAYOUTS, Layout, get_layout
from convnext_dense.checkpoints.layouts.layout import Pattern
from convnext_dense.checkpoints.report import shorten
from convnext_dense.checkpoints.unwrap import plain_name

# Prefixes of the trunk in whole models, where everything else stays as it is and the trunk moves to
# 'backbone.'. mmpretrain's TIMMBackbone and smp's encoder hold timm's network one module deeper.
WHOLE_MODEL_PREFIXES = ('backbone.', 'backbone.timm_model.', 'encoder.model.')

# Names, below any prefix, of networks that are called ConvNeXt but have another structure.
_REFUSED = {
    r'blocks\.\d+\.dwconv\.weight': (
        'an isotropic ConvNeXt has one stage, not feature maps at strides 4, 8, 16 and 32'
    ),
    r'stem[._][23]\.weight': (
        "timm's overlapping stem (the `_ols` networks) has two convolutions, not one of 4 x 4"
    ),
}
_TIMM_NORM = re.compile(r'stages[._]\d+\.blocks\.\d+\.norm\.(weight|bias)')
_RMS_NORM = "timm's `_rms` networks have RMS norms, which have no bias, instead of LayerNorm"


@dataclass(frozen=True)
class DetectedLayout:
    """Whose names a state dict has, and where.

    Args:
        layout: name of the layout.
        prefix: what stands before all of the library's names.
        base: what the library itself puts before the trunk's names; one of the layout's ``bases``.
    """

    layout: str
    prefix: str = ''
    base: str = ''

    @property
    def own_prefix(self) -> str:
        """Prefix of the trunk in our names: 'backbone.' in a detector or segmentor, else ''."""
        return 'backbone.' if self.prefix in WHOLE_MODEL_PREFIXES else ''


def detect_layout(state_dict: Mapping[str, Tensor], layout: str | None = None) -> DetectedLayout:
    """Recognize the layout by the names of the depthwise convolutions; file names do not matter.

    Args:
        state_dict: parameter names and tensors.
        layout: if given, look for the names of this layout only.

    Raises:
        ValueError: no ConvNeXt, more than one, an unsupported kind, or none in ``layout``.
    """
    if not isinstance(state_dict, Mapping) or not all(isinstance(key, str) for key in state_dict):
        raise ValueError(
            'expected a state dict, names and tensors; read_checkpoint(FILE) reads it from a file'
        )
    names = [plain_name(key) for key in state_dict]
    candidates = [get_layout(layout)] if layout else list(LAYOUTS.values())
    places = _count_blocks(names, candidates)
    if not places:
        raise ValueError(_explain_no_convnext(names, layout))
    if len(places) > 1:
        raise ValueError(_explain_several(places))

    anchor, full_prefix = next(iter(places))
    relative = [name.removeprefix(full_prefix) for name in names]
    found = LAYOUTS[layout] if layout else _choose(anchor, relative)
    reason = _refuse(relative)
    if reason:
        raise ValueError(f'a ConvNeXt in the layout {found.name} that is not supported: {reason}')
    base = _find_base(found, full_prefix)
    return DetectedLayout(found.name, full_prefix.removesuffix(base), base)


def _count_blocks(names: Iterable[str], layouts: Iterable[Layout]) -> Counter[tuple[str, str]]:
    """Count the blocks at each (anchor, prefix) where depthwise convolutions are found."""
    anchors: dict[str, Pattern] = {layout.anchor.text: layout.anchor for layout in layouts}
    places: Counter[tuple[str, str]] = Counter()
    for name in names:
        for text, anchor in anchors.items():
            prefix = anchor.find_prefix(name)
            if prefix is not None:
                places[text, prefix] += 1
    return places


def _choose(anchor: str, names: list[str]) -> Layout:
    """Among layouts that name their blocks the same, prefer one whose marker is present."""
    same = [layout for layout in LAYOUTS.values() if layout.anchor.text == anchor]
    same.sort(key=lambda layout: layout.marker is None)
    return next(layout for layout in same if layout.is_marked(names))


def _find_base(layout: Layout, full_prefix: str) -> str:
    for base in layout.bases:
        if f'.{full_prefix}'.endswith(f'.{base}'):
            return base
    return ''


def _refuse(names: Iterable[str]) -> str | None:
    """Return why the network with these names is not supported; None if it is."""
    norms: Counter[str] = Counter()
    for name in names:
        for pattern, reason in _REFUSED.items():
            if re.fullmatch(pattern, name):
                return reason
        norm = _TIMM_NORM.fullmatch(name)
        if norm:
            norms[norm[1]] += 1
    if norms['weight'] and not norms['bias']:
        return _RMS_NORM
    return None


def _explain_several(places: Mapping[tuple[str, str], int]) -> str:
    found = ', '.join(
        f'{count} blocks named like {prefix}{anchor}' for (anchor, prefix), count in places.items()
    )
    return f'more than one ConvNeXt in this state dict: {found}. Keep the names of one of them.'


def _explain_no_convnext(names: list[str], layout: str | None) -> str:
    for pattern, reason in _REFUSED.items():
        if any(re.fullmatch(rf'(?:.*\.)?{pattern}', name) for name in names):
            return f'this network is not supported: {reason}'
    known = layout or ' or '.join(LAYOUTS)
    return (
        f"no ConvNeXt in the layout {known}: expected names such as 'stages.0.0.dwconv.weight'; "
        f'got {len(names)} names: {shorten(names)}'
    )
