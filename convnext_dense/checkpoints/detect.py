"""Whose names a state dict has, and where in it the ConvNeXt stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from convnext_dense.checkpoints.layouts import LAYOUTS, Layout
from convnext_dense.checkpoints.layouts.layout import is_marked
from convnext_dense.checkpoints.report import shorten
from convnext_dense.checkpoints.unwrap import plain_name

# Whole models: the trunk's names are put under 'backbone.', everything else stays as it is.
# mmpretrain's TIMMBackbone and smp's encoder have timm's network one module further in.
WHOLE_MODELS = ('backbone.', 'backbone.timm_model.', 'encoder.model.')

# Keys, behind any prefix, of networks with the name but not the structure.
_REFUSED = {
    r'blocks\.\d+\.dwconv\.weight': 'an isotropic ConvNeXt has one stage, not maps at strides 4, 8, 16 and 32',
    r'stem[._][23]\.weight': "timm's overlapping stem (the `_ols` networks) has two convolutions, not one of 4 x 4",
}
_NO_BIAS = "timm's `_rms` networks have RMS norms, without a bias, in place of LayerNorm"


@dataclass(frozen=True)
class Found:
    """Whose names a state dict has, and where: ``prefix`` before the library's own names, ``base`` of these.

    ``own_prefix`` is where the trunk goes: 'backbone.' in a whole detector or segmentor, else ''.
    """

    layout: str
    prefix: str = ''
    base: str = ''

    @property
    def own_prefix(self) -> str:
        return 'backbone.' if self.prefix in WHOLE_MODELS else ''


def detect_layout(state_dict: Mapping[str, Tensor], layout: str | None = None) -> Found:
    """Whose names these are, told by the depthwise convolutions' alone; the name of a file does not matter.

    Raises:
        ValueError: no ConvNeXt, more than one, one of a kind that is not supported, or none of ``layout``.
    """
    if not isinstance(state_dict, Mapping) or not all(isinstance(key, str) for key in state_dict):
        raise ValueError(
            'expected a state dict, names and tensors; read_checkpoint(FILE) takes it out of a file'
        )
    keys = [plain_name(key) for key in state_dict]
    blocks = _count_blocks(keys, [get_layout(layout)] if layout else LAYOUTS.values())
    if len(blocks) != 1:
        raise ValueError(_say_what_was_seen(keys, blocks, layout))
    anchor, prefix = next(iter(blocks))
    relative = [key.removeprefix(prefix) for key in keys]
    named = LAYOUTS[layout] if layout else _pick(anchor, relative)
    base = next((base for base in named.bases if f'.{prefix}'.endswith(f'.{base}')), '')
    found = Found(named.name, prefix.removesuffix(base), base)
    if reason := _why_refused(relative):
        raise ValueError(
            f'a ConvNeXt in the layout of {found.layout} that cannot be converted: {reason}'
        )
    return found


def get_layout(name: str) -> Layout:
    if name not in LAYOUTS:
        raise ValueError(f'layout must be one of {", ".join(LAYOUTS)}; got {name!r}')
    return LAYOUTS[name]


def _count_blocks(keys: Iterable[str], layouts: Iterable[Layout]) -> dict[tuple[str, str], int]:
    """{(anchor, prefix): blocks} for each place where depthwise convolutions in some layout's names stand."""
    anchors = {layout.anchor.text: layout.anchor for layout in layouts if layout.anchor}
    compiled = [(anchor, re.compile(rf'((?:.*\.)?){anchor.regex}')) for anchor in anchors.values()]
    blocks: dict[tuple[str, str], int] = {}
    for key in keys:
        for anchor, pattern in compiled:
            match = pattern.fullmatch(key)
            if (
                match
                and match['p' if 'p' in match.groupdict() else 0] != 'bias'
                and anchor.values(match) is not None
            ):
                blocks[anchor.text, match[1]] = blocks.get((anchor.text, match[1]), 0) + 1
    return blocks


def _pick(anchor: str, keys: list[str]) -> Layout:
    """Of the layouts with the same names of blocks, the one whose marker is there; else the one that needs none."""
    layouts = sorted(
        (one for one in LAYOUTS.values() if one.anchor and one.anchor.text == anchor),
        key=lambda one: one.marker is None,
    )
    return next(layout for layout in layouts if is_marked(layout, keys))


def _why_refused(keys: Iterable[str]) -> str | None:
    norms = dict.fromkeys(('weight', 'bias'), 0)
    for key in keys:
        for pattern, reason in _REFUSED.items():
            if re.fullmatch(pattern, key):
                return reason
        match = re.fullmatch(r'stages[._]\d+\.blocks\.\d+\.norm\.(weight|bias)', key)
        if match:
            norms[match[1]] += 1
    return _NO_BIAS if norms['weight'] and not norms['bias'] else None


def _say_what_was_seen(
    keys: list[str], blocks: Mapping[tuple[str, str], int], layout: str | None
) -> str:
    if blocks:
        places = ', '.join(
            f'{count} blocks named like {prefix}{anchor}'
            for (anchor, prefix), count in blocks.items()
        )
        return f'more than one ConvNeXt in this state dict: {places}. Keep the keys of the one that you want.'
    refused = next(
        (
            reason
            for pattern, reason in _REFUSED.items()
            if any(re.fullmatch(rf'(?:.*\.)?{pattern}', key) for key in keys)
        ),
        None,
    )
    if refused:
        return f'this network cannot be converted: {refused}'
    return (
        f'no ConvNeXt in the layout of {layout or " or ".join(LAYOUTS)}: expected names such as '
        f"'stages.0.0.dwconv.weight'; got {len(keys)} names: {shorten(keys)}"
    )
