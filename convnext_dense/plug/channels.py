"""ConvNeXt instead of a model's backbone: which feature maps are read, and by whom."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from mmengine.config import ConfigDict

from convnext_dense.errors import ConfigError
from convnext_dense.plug.feature_maps import FeatureMaps
from convnext_dense.variants import get_variant

_NO_READERS = ('backbone', 'data_preprocessor', 'train_cfg', 'test_cfg', 'init_cfg')


def replace_backbone(
    model: ConfigDict,
    maps: FeatureMaps,
    arch: str,
    output_stride: int | None = None,
    **arguments: Any,
) -> dict:
    """Overrides for ``model``, as a config with a ``_base_`` writes them.

    Besides ``backbone`` only channels change: ``in_channels`` of the neck, or of the heads if there
    is no neck. ConvNeXt returns only the feature maps that are read, because each has a norm, which
    would not be trained and at which DistributedDataParallel stops. Where a neck or head skips
    feature maps, its ``start_level`` or ``in_index`` is renumbered.

    Args:
        model: the part of the config that holds the backbone.
        maps: what the old backbone returns.
        arch: a name in ``VARIANTS``.
        output_stride: 8, 16 or 32; None takes that of the old backbone.
        arguments: further arguments of ``convnext_dense.ConvNeXt``.

    Raises:
        ConfigError: ``in_channels`` is not found, or does not match ``maps``.
    """
    if model.get('roi_head') and not model.get('neck'):
        raise ConfigError(
            'roi_head reads the backbone without a neck: it holds the old channels in several '
            'places and, as shared_head, often the last stage of the backbone itself'
        )
    # Find out who reads which feature map.
    parts = copy.deepcopy(_find_parts(model))
    readers = []  # (config, key -> positions of the feature maps that it reads)
    used: set[int] = set()
    for reader in _iter_readers(parts):
        levels = _find_levels(reader, maps)
        readers.append((reader, levels))
        used.update(*levels.values())
    if not readers:
        place = 'neck' if model.get('neck') else 'heads'
        raise ConfigError(f'found no in_channels in the {place} ({", ".join(parts) or "none"})')

    # Write ConvNeXt's channels, and positions among the feature maps that stay.
    variant = get_variant(arch)
    dims = [variant.dims[stage] for stage in maps.stages]
    for reader, levels in readers:
        _rewrite(reader, levels, sorted(used), dims)

    # Keep only what differs, so that the new config stays short.
    overrides: dict[str, Any] = {}
    for key in ('pretrained', 'init_cfg'):
        if model.get(key):
            overrides[key] = None  # weights of the old model
    backbone: dict[str, Any] = dict(_delete_=True, type='convnext_dense.ConvNeXt', arch=arch)
    backbone['out_indices'] = tuple(maps.stages[level] for level in sorted(used))
    stride = output_stride or maps.output_stride
    if stride != 32:
        backbone['output_stride'] = stride
    overrides['backbone'] = backbone | arguments
    for key, part in parts.items():
        if part != model[key]:
            overrides[key] = _difference(model[key], part)
    return overrides


def _find_parts(model: ConfigDict) -> dict[str, Any]:
    """The neck; without one, everything that may be a head."""
    if model.get('neck'):
        return dict(neck=model['neck'])
    parts = {}
    for key, child in model.items():
        if key not in _NO_READERS and isinstance(child, (dict, list)):
            parts[key] = child
    return parts


def _iter_readers(parts: dict[str, Any]) -> Iterator[ConfigDict]:
    """Every mapping that reads the backbone's feature maps.

    Of a chain of necks this is the first one; of heads, each head and the parts of it that have an
    ``in_index``.
    """
    for key, part in parts.items():
        nodes = part if isinstance(part, list) else [part]
        if key == 'neck':
            nodes = nodes[:1]
        for node in nodes:
            if not isinstance(node, dict):
                continue
            if 'in_channels' in node:
                yield node
            for inner in node.values():
                if isinstance(inner, dict) and 'in_channels' in inner and 'in_index' in inner:
                    yield inner


def _find_levels(reader: ConfigDict, maps: FeatureMaps) -> dict[str, list[int]]:
    """For each key of ``reader`` that holds channels, positions in the old backbone's output."""
    given = _as_list(reader['in_channels'])
    count = len(maps.channels)
    if 'in_index' in reader:
        levels = [index % count for index in _as_list(reader['in_index'])]
    elif tuple(given) in (maps.channels, maps.channels[-1:]):
        # All feature maps, or the last one, which a head reads by default.
        levels = list(range(count))[-len(given) :]
    else:
        levels = [_find_level(channels, maps, reader) for channels in given]
    if [maps.channels[level] for level in levels] != given:
        raise ConfigError(
            f'{reader.get("type")} has in_channels={reader["in_channels"]}, but the backbone '
            f'returns {maps.channels}'
        )
    if len(levels) == count:
        start = reader.get('start_level', 0)
        end = reader.get('end_level', -1)  # some necks read this level, others stop before it
        levels = levels[start : end + 1 if end >= 0 else None]
    found = {'in_channels': levels}
    if reader.get('c1_in_channels'):
        found['c1_in_channels'] = [0]  # always the first feature map, whatever in_index says
    return found


def _find_level(channels: int, maps: FeatureMaps, reader: ConfigDict) -> int:
    if maps.channels.count(channels) != 1:
        raise ConfigError(
            f'{reader.get("type")} has in_channels={reader["in_channels"]}, but the backbone '
            f'returns {maps.channels}: {channels} does not name exactly one of them'
        )
    return maps.channels.index(channels)


def _rewrite(
    reader: ConfigDict, levels: dict[str, list[int]], used: list[int], dims: list[int]
) -> None:
    """Write the new channels; and new positions, if some feature maps are left out."""
    for key, positions in levels.items():
        reader[key] = _in_form_of(reader[key], [dims[level] for level in positions])
    if len(used) == len(dims):
        return
    if 'in_index' in reader:
        positions = [used.index(level) for level in levels['in_channels']]
        reader['in_index'] = _in_form_of(reader['in_index'], positions)
    if reader.get('start_level'):
        if reader.get('end_level', -1) > 0:
            reader['end_level'] -= reader['start_level']
        reader['start_level'] = 0


def _as_list(value: int | list[int] | tuple[int, ...]) -> list[int]:
    if isinstance(value, (list, tuple)):
        return list(value)
    return [value]


def _in_form_of(old: Any, new: list[int]) -> Any:
    """``new`` as a number, list or tuple, whichever ``old`` is: some necks accept only tuples."""
    if isinstance(old, (list, tuple)):
        return type(old)(new)
    return new[0]


def _difference(old: Any, new: Any) -> Any:
    """What changed in a mapping; a list as a whole, because a config cannot change a part of it."""
    if not isinstance(old, dict):
        return new
    changed = {}
    for key, value in new.items():
        if key in old and old[key] == value:
            continue
        if isinstance(value, dict) and isinstance(old.get(key), dict):
            changed[key] = _difference(old[key], value)
        else:
            changed[key] = value
    return changed
