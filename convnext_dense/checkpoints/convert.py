"""Any library's ConvNeXt weights into the authors' names, which are ours, and out again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from convnext_dense.checkpoints.detect import WHOLE_MODELS, detect_layout, get_layout
from convnext_dense.checkpoints.layouts import LAYOUTS, Row, Shape
from convnext_dense.checkpoints.layouts.upernet import TRANSFORMERS, name_heads
from convnext_dense.checkpoints.report import shorten
from convnext_dense.checkpoints.trunk import Trunk, check_weights, measure_trunk
from convnext_dense.checkpoints.unwrap import plain_name, strip_wrapping


@dataclass(frozen=True)
class Converted:
    """Weights in the authors' names, and what became of each name of the file.

    Attributes:
        state_dict: our name -> tensor; the trunk behind ``own_prefix``. Names are the authors', GRN is (1, 1, 1, 4C).
        layout, prefix, own_prefix: see :class:`Found`; ``prefix`` is all that stands before the trunk's names.
        trunk: depths, dims, GRN, layer scale, channels of the image, read off the weights.
        source: our name -> the file's.
        reshaped: our names whose tensor has another shape than in the file.
        dropped: the file's name -> why it is left out, knowingly.
        unexpected: the file's names that no table knows.
    """

    state_dict: dict[str, Tensor]
    layout: str
    prefix: str
    own_prefix: str
    trunk: Trunk
    source: dict[str, str]
    reshaped: tuple[str, ...]
    dropped: dict[str, str]
    unexpected: tuple[str, ...]

    @property
    def depths(self) -> tuple[int, ...]:
        return self.trunk.depths

    @property
    def dims(self) -> tuple[int, ...]:
        return self.trunk.dims


@dataclass(frozen=True)
class Conversion:
    """Weights in layout ``to``; how they were read; our names that ``to`` has no place for: why."""

    state_dict: dict[str, Tensor]
    to: str
    read: Converted
    left_out: dict[str, str]


def to_facebook(state_dict: Mapping[str, Tensor], layout: str | None = None) -> Converted:
    """Weights in any known layout -> the authors' names, with an account of every key; tensors are views.

    In a whole detector or segmentor the trunk is renamed in place, under 'backbone.', and all else is untouched.
    Whether the trunk is complete is not asked here: see :func:`check_weights`.

    Raises:
        ValueError: see :func:`detect_layout`; or two keys of the file hold different numbers for one weight.
    """
    found = detect_layout(state_dict, layout)
    named, ours = LAYOUTS[found.layout], _Renamed()
    originals = {plain_name(key): key for key in state_dict}
    for key, value in strip_wrapping(state_dict).items():
        if key.startswith(found.prefix):
            rows = [
                (name and found.own_prefix + name, row)
                for name, row in named.read(key[len(found.prefix) :], found.base)
            ]
            ours.add(originals[key], value, rows, lambda shape, x: shape.read(x))
        elif found.own_prefix:
            ours.put(key, value, originals[key], value)
        else:
            ours.dropped[originals[key]] = (
                f'outside {found.prefix[:-1]}, so no part of the ConvNeXt'
            )
    return Converted(
        ours.tensors,
        found.layout,
        found.prefix + found.base,
        found.own_prefix,
        measure_trunk(ours.tensors, found.own_prefix),
        ours.source,
        tuple(ours.reshaped),
        ours.dropped,
        tuple(ours.unknown),
    )


def from_facebook(
    state_dict: Mapping[str, Tensor], to: str, prefix: str = '', to_prefix: str | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights in the authors' names -> (those of layout ``to``, what it has no place for: why).

    Args:
        prefix: where the trunk stands ('backbone.' in a whole model); what is outside stays as it is.
        to_prefix: where to put it; None leaves it there.

    Raises:
        ValueError: ``to`` is unknown, or cannot hold a weight that its networks would need.
    """
    trunk, named = measure_trunk(state_dict, prefix), get_layout(to)
    keys = [key[len(prefix) :] for key in state_dict if key.startswith(prefix)]
    if named.dense and any(re.match(r'norm[0-2]\.', key) for key in keys):
        named = LAYOUTS[named.dense]
    base = named.base_for(trunk.use_grn, 'head.weight' in keys and not prefix)
    to_prefix, theirs = prefix if to_prefix is None else to_prefix, _Renamed()
    for key, value in state_dict.items():
        if key.startswith(prefix):
            rows = [
                (name and to_prefix + name, row)
                for name, row in named.write(key[len(prefix) :], base)
            ]
            theirs.add(key, value, rows, lambda shape, x: shape.write(x, trunk.dims))
        else:
            theirs.put(key, value, key, value)
    if theirs.unknown:
        raise ValueError(
            f'the layout of {named.name} ({named.about}) has no place for {len(theirs.unknown)} weights: '
            f'{shorten(theirs.unknown)}'
        )
    return theirs.tensors, theirs.dropped


def convert(
    state_dict: Mapping[str, Tensor], to: str = 'facebook', layout: str | None = None
) -> Conversion:
    """:func:`convert_state_dict` with an account of what was done."""
    get_layout(to)
    converted = to_facebook(state_dict, layout)
    if converted.unexpected:
        raise ValueError(
            f'the layout of {converted.layout} has no such names: {shorten(converted.unexpected)}'
        )
    check_weights(converted.state_dict, converted.own_prefix)
    back = converted.prefix if to == converted.layout and converted.prefix in WHOLE_MODELS else None
    own = _rename_heads(converted, to) if converted.own_prefix else converted.state_dict
    theirs, left_out = from_facebook(own, to, converted.own_prefix, back)
    return Conversion(theirs, to, converted, left_out)


def convert_state_dict(
    state_dict: Mapping[str, Tensor], to: str = 'facebook', layout: str | None = None
) -> dict[str, Tensor]:
    """ConvNeXt weights in any known layout -> layout ``to``, names and shapes, as its library loads them strictly.

    Nothing is computed: the same numbers in the same dtype, so a way there and back is exact. Tensors may share memory
    with the input. Left out are only weights that are known to lie outside the ConvNeXt, and those for which ``to`` has
    no place although its networks run without them (timm's have no norm for each stage): ``docs/checkpoints.md`` has
    the list, :func:`convert` the names. In a whole detector or segmentor the trunk is renamed in place; necks and heads
    stay, but for UperNet's between transformers', smp's (read only) and mmseg's names.

    Args:
        to: a key of ``LAYOUTS``: 'facebook' (ours), 'timm', 'torchvision', 'transformers', 'mmpretrain', ...
        layout: whose names ``state_dict`` has; None finds out.

    Raises:
        ValueError: no ConvNeXt, or more than one; a weight missing or of a wrong shape; a name that no table knows; or
            a weight that ``to`` cannot hold, as torchvision GRN.
    """
    return convert(state_dict, to, layout).state_dict


class _Renamed:
    """Tensors by their new name, and what became of each old one."""

    def __init__(self):
        self.tensors: dict[str, Tensor] = {}
        self.source: dict[str, str] = {}
        self.reshaped: list[str] = []
        self.dropped: dict[str, str] = {}
        self.unknown: list[str] = []

    def add(
        self,
        key: str,
        value: Tensor,
        rows: list[tuple[str | None, Row]],
        change: Callable[[Shape, Tensor], Tensor],
    ):
        """``value`` under each name of ``rows``; where these are all None, or none, ``key`` is dropped or unknown."""
        for name, row in rows:
            if name is not None:
                self.put(name, change(row.shape, value), key, value)
        if not rows:
            self.unknown.append(key)
        elif all(name is None for name, _ in rows):
            self.dropped[key] = rows[0][1].reason

    def put(self, name: str, value: Tensor, source: str, original: Tensor):
        """``value`` under ``name``, which may come twice with the same numbers."""
        known = self.tensors.get(name)
        if known is None:
            self.tensors[name], self.source[name] = value, source
            if value.shape != original.shape:
                self.reshaped.append(name)
        elif known.shape != value.shape or not torch.equal(known, value):
            raise ValueError(
                f'{self.source[name]} and {source} are the same weight ({name}) but hold different '
                'numbers'
            )


def _rename_heads(converted: Converted, to: str) -> dict[str, Tensor]:
    """UperNet's heads: transformers' and smp's in mmseg's names, mmseg's in transformers' where that is asked for."""
    weights, names = converted.state_dict, {}
    if to == 'transformers' and any(key.startswith('decode_head.psp_modules.') for key in weights):
        names = _name_as_transformers(weights)
    elif to != converted.layout:
        names = name_heads(weights)
    return {names.get(key, key): value for key, value in weights.items()}


def _name_as_transformers(keys: Iterable[str]) -> dict[str, str]:
    patterns = [
        (re.compile(re.escape(ours).replace(r'\#', '([0-9]+)')), theirs)
        for theirs, ours in TRANSFORMERS.items()
    ]
    paths = ((key, *key.rpartition('.')[::2]) for key in keys)
    return {
        key: f'{theirs.replace("#", found[1]) if "#" in theirs else theirs}.{leaf}'
        for key, path, leaf in paths
        for pattern, theirs in patterns
        if (found := pattern.fullmatch(path))
    }
