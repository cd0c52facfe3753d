"""ConvNeXt in place of a model's backbone: which of its maps are read, and where their channels are written."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from mmengine.config import ConfigDict

from convnext_dense.apis.config import ConfigError
from convnext_dense.plug.maps import Maps
from convnext_dense.variants import get_variant

_NO_READERS = ('backbone', 'data_preprocessor', 'train_cfg', 'test_cfg', 'init_cfg')


def swap_backbone(
    model: ConfigDict, maps: Maps, arch: str, output_stride: int | None = None, **backbone
) -> dict:
    """Overrides for ``model``, as a config's ``_base_`` takes them, that put ConvNeXt in the place of its backbone.

    Besides ``backbone`` only channels change: the neck's ``in_channels``, or the heads' if there is no neck. ConvNeXt
    builds the maps that are read and no others: each has a norm that would never be trained, which
    DistributedDataParallel refuses. Where a neck or head skips maps, its ``start_level`` or ``in_index`` moves along.

    Args:
        maps: of the backbone that goes, from :func:`read_maps`.
        output_stride: 8, 16 or 32; None takes that of the old backbone.
        backbone: further arguments of ``convnext_dense.ConvNeXt``.

    Raises:
        ConfigError: the maps are not ConvNeXt's, or no reader of them is understood.
    """
    if model.get('roi_head') and not model.get('neck'):
        raise ConfigError(
            'roi_head stands on the backbone without a neck: it holds the old channels in several places '
            'and, as shared_head, often the last stage of the backbone itself'
        )
    readers = copy.deepcopy(_get_readers(model))
    found = [(reader, _get_levels(reader, maps)) for reader in _walk_readers(readers)]
    if not found:
        raise ConfigError(
            f'found no in_channels in the {"neck" if model.get("neck") else "heads"} '
            f'({", ".join(readers) or "none"})'
        )
    used = sorted({level for _, levels in found for level in sum(levels.values(), [])})
    dims = [get_variant(arch).dims[stage] for stage in maps.stages]
    for reader, levels in found:
        _rewrite(reader, levels, used, dims)
    stride = output_stride or maps.output_stride
    overrides = {
        key: None for key in ('pretrained', 'init_cfg') if model.get(key)
    }  # weights of the old model
    overrides['backbone'] = dict(
        _delete_=True,
        type='convnext_dense.ConvNeXt',
        arch=arch,
        out_indices=tuple(maps.stages[i] for i in used),
        **(dict(output_stride=stride) if stride != 32 else {}),
        **backbone,
    )
    return overrides | {
        key: _difference(model[key], child) for key, child in readers.items() if child != model[key]
    }


def _get_readers(model: ConfigDict) -> dict[str, ConfigDict | list]:
    if model.get('neck'):
        return dict(neck=model['neck'])
    return {
        key: child
        for key, child in model.items()
        if key not in _NO_READERS and isinstance(child, (dict, list))
    }


def _walk_readers(readers: dict) -> Iterator[ConfigDict]:
    """Every mapping that reads the backbone's maps: a chain's first neck; each head, what in it has ``in_index``."""
    for key, child in readers.items():
        nodes = child if isinstance(child, list) else [child]
        for node in nodes[:1] if key == 'neck' else nodes:
            if not isinstance(node, dict):
                continue
            if 'in_channels' in node:
                yield node
            yield from (
                inner
                for inner in node.values()
                if isinstance(inner, dict) and 'in_channels' in inner and 'in_index' in inner
            )


def _get_levels(reader: ConfigDict, maps: Maps) -> dict[str, list[int]]:
    """For each key that holds channels, the positions of its maps among the old backbone's."""
    channels, count = reader['in_channels'], len(maps.channels)
    given = list(channels) if isinstance(channels, (list, tuple)) else [channels]
    if 'in_index' in reader:
        index = reader['in_index']
        levels = [i % count for i in (index if isinstance(index, (list, tuple)) else [index])]
    elif tuple(given) in (
        maps.channels,
        maps.channels[-1:],
    ):  # all; or the last, which a head reads unless told
        levels = list(range(count))[-len(given) :]
    else:
        levels = [_find(one, maps, reader) for one in given]
    if [maps.channels[level] for level in levels] != given:
        raise ConfigError(
            f'{reader.get("type")} has in_channels={channels}, but the backbone returns {maps.channels}'
        )
    first = (
        {'c1_in_channels': [0]} if reader.get('c1_in_channels') else {}
    )  # always the first map, whatever in_index
    if len(levels) == count:
        end = reader.get('end_level', -1)  # some necks read this one, others stop before it
        levels = levels[reader.get('start_level', 0) : end + 1 if end >= 0 else None]
    return {'in_channels': levels, **first}


def _find(channels: int, maps: Maps, reader: ConfigDict) -> int:
    if maps.channels.count(channels) != 1:
        raise ConfigError(
            f'{reader.get("type")} has in_channels={reader["in_channels"]}, but the backbone returns '
            f'{maps.channels}: {channels} is not one of them alone'
        )
    return maps.channels.index(channels)


def _rewrite(
    reader: ConfigDict, levels: dict[str, list[int]], used: list[int], dims: list[int]
) -> None:
    """Write the new channels; and the new numbers of the maps, where some are left out."""
    for key, old in levels.items():
        reader[key] = _like(reader[key], [dims[level] for level in old])
    if len(used) == len(dims):
        return
    if 'in_index' in reader:
        reader['in_index'] = _like(
            reader['in_index'], [used.index(level) for level in levels['in_channels']]
        )
    if reader.get('start_level'):
        if reader.get('end_level', -1) > 0:
            reader['end_level'] -= reader['start_level']
        reader['start_level'] = 0


def _like(old, new: list[int]):
    """``new`` in the form of ``old``: some necks accept tuples alone."""
    return type(old)(new) if isinstance(old, (list, tuple)) else new[0]


def _difference(old, new):
    """What changed in a mapping; a list is given whole, as configs cannot change a part of one."""
    if not isinstance(old, dict):
        return new
    return {
        key: _difference(old[key], value)
        if isinstance(value, dict) and isinstance(old.get(key), dict)
        else value
        for key, value in new.items()
        if key not in old or old[key] != value
    }
