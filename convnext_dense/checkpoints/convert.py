"""Convert ConvNeXt weights of any known layout to our names, which are the authors', and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from convnext_dense.checkpoints.detect import WHOLE_MODEL_PREFIXES, detect_layout
from convnext_dense.checkpoints.layouts import LAYOUTS, get_layout
from convnext_dense.checkpoints.layouts.upernet import name_as_mmseg, name_as_transformers
from convnext_dense.checkpoints.report import shorten
from convnext_dense.checkpoints.trunk import Trunk, check_trunk, measure_trunk
from convnext_dense.checkpoints.unwrap import plain_name, strip_wrapping


@dataclass(frozen=True)
class Converted:
    """Weights in our names, and what became of each name of the file.

    Args:
        state_dict: our name -> tensor, with the trunk below ``own_prefix`` and GRN (1, 1, 1, 4C).
        layout: name of the layout of the file.
        prefix: what stands before the trunk's names in the file.
        own_prefix: what stands before the trunk's names here: 'backbone.' in whole models, else ''.
        trunk: size of the trunk, read off the weights.
        source: our name -> the file's name.
        dropped: the file's name -> why the weight is left out on purpose.
        unexpected: the file's names that the layout does not have.
    """

    state_dict: dict[str, Tensor]
    layout: str
    prefix: str
    own_prefix: str
    trunk: Trunk
    source: dict[str, str]
    dropped: dict[str, str]
    unexpected: tuple[str, ...]


@dataclass(frozen=True)
class Conversion:
    """Result of converting from one layout to another.

    Args:
        state_dict: the weights in layout ``to``.
        to: name of the layout.
        read: how the weights were read.
        left_out: our name -> why layout ``to`` does not store the weight.
    """

    state_dict: dict[str, Tensor]
    to: str
    read: Converted
    left_out: dict[str, str]


def convert_state_dict(
    state_dict: Mapping[str, Tensor], to: str = 'facebook', layout: str | None = None
) -> dict[str, Tensor]:
    """Convert ConvNeXt weights to the names and shapes of another layout.

    The library of that layout then loads them strictly. Nothing is computed: the numbers and the
    dtype stay, so converting back gives the input. Tensors may share memory with the input.

    Two kinds of weights are left out: those that do not belong to the ConvNeXt, and those for which
    the other layout has no place and whose networks run without them (timm's networks have no
    output norms). ``docs/checkpoints.md`` lists them. In a whole detector or segmentor the trunk is
    renamed in place; necks and heads stay, except that UperNet's heads are renamed between
    transformers', smp's (read only) and mmseg's names.

    Args:
        state_dict: parameter names and tensors.
        to: a key of ``LAYOUTS``: 'facebook' (ours), 'timm', 'torchvision', 'transformers', ...
        layout: the layout of ``state_dict``; None finds it.

    Returns:
        Names and tensors in layout ``to``.

    Raises:
        ValueError: no ConvNeXt or more than one; a weight is missing or has a wrong shape; a name
            is unknown; or ``to`` cannot hold a weight, as torchvision cannot hold GRN.
    """
    return convert(state_dict, to, layout).state_dict


def convert(
    state_dict: Mapping[str, Tensor], to: str = 'facebook', layout: str | None = None
) -> Conversion:
    """Do the work of :func:`convert_state_dict` and return what was done, too."""
    get_layout(to)
    read = to_facebook(state_dict, layout)
    if read.unexpected:
        raise ValueError(f'the layout {read.layout} has no such names: {shorten(read.unexpected)}')
    check_trunk(read.state_dict, read.own_prefix)

    weights = read.state_dict
    if read.own_prefix:
        weights = _rename_heads(weights, read.layout, to)
    # Within one layout, a whole model keeps the place of its trunk.
    to_prefix = read.own_prefix
    if to == read.layout and read.prefix in WHOLE_MODEL_PREFIXES:
        to_prefix = read.prefix
    written, left_out = from_facebook(weights, to, read.own_prefix, to_prefix)
    return Conversion(written, to, read, left_out)


def to_facebook(state_dict: Mapping[str, Tensor], layout: str | None = None) -> Converted:
    """Convert weights of any known layout to our names, and account for every name of the file.

    In a whole detector or segmentor the trunk is renamed to 'backbone.', all else is kept. Tensors
    are views. Whether the trunk is complete is not checked: see :func:`check_trunk`.

    Args:
        state_dict: parameter names and tensors.
        layout: the layout of ``state_dict``; None finds it.

    Raises:
        ValueError: see :func:`detect_layout`; or two names of the file hold different numbers for
            the same weight.
    """
    found = detect_layout(state_dict, layout)
    table = LAYOUTS[found.layout]
    originals = {plain_name(key): key for key in state_dict}
    ours = _Renamed()
    for name, value in strip_wrapping(state_dict).items():
        key = originals[name]
        if name.startswith(found.prefix):
            translations = table.read(name[len(found.prefix) :], found.base)
            for translated, row in translations:
                if translated is not None:
                    ours.put(found.own_prefix + translated, row.shape.read(value), key)
            if not translations:
                ours.unknown.append(key)
            elif all(translation.name is None for translation in translations):
                ours.dropped[key] = translations[0].row.reason
        elif found.own_prefix:
            ours.put(name, value, key)
        else:
            ours.dropped[key] = f'outside {found.prefix[:-1]}, so not part of the ConvNeXt'
    return Converted(
        state_dict=ours.tensors,
        layout=found.layout,
        prefix=found.prefix + found.base,
        own_prefix=found.own_prefix,
        trunk=measure_trunk(ours.tensors, found.own_prefix),
        source=ours.source,
        dropped=ours.dropped,
        unexpected=tuple(ours.unknown),
    )


def from_facebook(
    state_dict: Mapping[str, Tensor], to: str, prefix: str = '', to_prefix: str | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Convert weights in our names to another layout.

    Args:
        state_dict: our names and tensors.
        to: name of the layout.
        prefix: prefix of the trunk, 'backbone.' in a whole model; what is outside stays as it is.
        to_prefix: prefix of the trunk in the result; None keeps ``prefix``.

    Returns:
        The weights, and our name -> why it is left out.

    Raises:
        ValueError: ``to`` is unknown, or cannot hold a weight that its networks would need.
    """
    if to_prefix is None:
        to_prefix = prefix
    trunk = measure_trunk(state_dict, prefix)
    names = [key.removeprefix(prefix) for key in state_dict if key.startswith(prefix)]
    table = get_layout(to)
    if table.dense and any(re.match(r'norm[0-2]\.', name) for name in names):
        table = LAYOUTS[table.dense]
    base = table.base_for(trunk.use_grn, 'head.weight' in names and not prefix)

    theirs = _Renamed()
    for key, value in state_dict.items():
        if not key.startswith(prefix):
            theirs.put(key, value, key)
            continue
        translations = table.write(key.removeprefix(prefix), base)
        for translated, row in translations:
            if translated is not None:
                theirs.put(to_prefix + translated, row.shape.write(value, trunk.dims), key)
        if not translations:
            theirs.unknown.append(key)
        elif all(translation.name is None for translation in translations):
            theirs.dropped[key] = translations[0].row.reason
    if theirs.unknown:
        raise ValueError(
            f'the layout {table.name} ({table.about}) has no place for {len(theirs.unknown)} '
            f'weights: {shorten(theirs.unknown)}'
        )
    return theirs.tensors, theirs.dropped


@dataclass
class _Renamed:
    """Tensors by their new name, and what became of each old name.

    Args:
        tensors: new name -> tensor.
        source: new name -> old name.
        dropped: old name -> why it is left out.
        unknown: old names that the layout does not have.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def put(self, name: str, value: Tensor, source: str) -> None:
        """Store ``value``. A name may come twice, with the same numbers."""
        known = self.tensors.get(name)
        if known is None:
            self.tensors[name] = value
            self.source[name] = source
        elif known.shape != value.shape or not torch.equal(known, value):
            raise ValueError(
                f'{self.source[name]} and {source} are the same weight ({name}) but hold different '
                'numbers'
            )


def _rename_heads(weights: dict[str, Tensor], layout: str, to: str) -> dict[str, Tensor]:
    """Rename UperNet's heads to mmseg's names, or to transformers' if ``to`` asks for them."""
    if to == layout:
        return weights
    renamed = name_as_mmseg(weights)
    weights = {renamed.get(name, name): value for name, value in weights.items()}
    if to == 'transformers':
        renamed = name_as_transformers(weights)
        weights = {renamed.get(name, name): value for name, value in weights.items()}
    return weights
