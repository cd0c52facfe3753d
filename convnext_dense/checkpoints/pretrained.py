"""Strict loading of a trunk from the authors' classification, detection and segmentation files."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from convnext_dense.checkpoints.io import read_checkpoint

_TRUNK = ('downsample_layers.', 'stages.')


@dataclass(frozen=True)
class LoadReport:
    """What became of each name: ``loaded``, ``fresh`` (ours, not in the file), ``dropped`` (the file's, not ours)."""
    loaded: tuple[str, ...]
    fresh: tuple[str, ...]
    dropped: tuple[str, ...]

    def __str__(self) -> str:
        return (f'{len(self.loaded)} tensors loaded; not in the file and left as initialized: {_short(self.fresh)}; '
                f'in the file and not used here: {_short(self.dropped)}')


def load_pretrained(module: nn.Module, init_cfg: Mapping) -> LoadReport:
    """Load ``dict(type='Pretrained', checkpoint=FILE_OR_URL, prefix=None)`` into a backbone, strictly.

    ``prefix`` names where in the file the backbone is, as in mmengine ('backbone.'); None finds it.

    Raises:
        ValueError: unknown field, or what :func:`read_checkpoint` and :func:`load_trunk` refuse.
    """
    unknown = set(init_cfg) - {'type', 'checkpoint', 'prefix', 'map_location'}
    if unknown or not init_cfg.get('checkpoint'):
        raise ValueError("init_cfg of type 'Pretrained' takes checkpoint (a path or an address) and, if wanted, prefix; "
                         f'got {dict(init_cfg)}')
    return load_trunk(module, read_checkpoint(init_cfg['checkpoint']), init_cfg.get('prefix'), init_cfg['checkpoint'])


def load_trunk(module: nn.Module, state_dict: Mapping[str, Tensor], prefix: str | None = None,
               name: str = 'the state dict') -> LoadReport:
    """Load the authors' names into ``module``: all of the trunk, and its output norms where the file has them.

    Raises:
        ValueError: a trunk weight is missing or has another shape; ``module`` is then unchanged.
    """
    if prefix is None:
        prefix = 'backbone.' if any(key.startswith('backbone.' + _TRUNK[0]) for key in state_dict) else ''
    elif prefix and not prefix.endswith('.'):
        prefix += '.'
    given = {key[len(prefix):]: value for key, value in state_dict.items() if key.startswith(prefix)}
    own = module.state_dict()
    missing = [key for key in own if key.startswith(_TRUNK) and key not in given]
    misshapen = [f'{key}: file {tuple(given[key].shape)}, model {tuple(own[key].shape)}'
                 for key in own if key in given and not fits(given[key], own[key])]
    if missing or misshapen:
        raise ValueError(f'{name} does not fit the backbone (depths {module.depths}, dims {module.dims}). Missing: '
                         f'{_short(missing)}. Wrong shape: {_short(misshapen)}. Expected the authors\' names '
                         "('downsample_layers.0.0.weight', 'stages.0.0.dwconv.weight', ...) of the same arch; the file "
                         f'has {_short(list(state_dict))}.')
    loaded = {key: given[key].reshape(own[key].shape) for key in own if key in given}
    module.load_state_dict(loaded, strict=False)
    dropped = [key for key in state_dict if not key.startswith(prefix) or key[len(prefix):] not in loaded]
    return LoadReport(tuple(loaded), tuple(key for key in own if key not in loaded), tuple(dropped))


def fits(given: Tensor, own: Tensor) -> bool:
    """Equal shapes; or a vector written with leading ones, as the authors write GRN's (1, 1, 1, 4C)."""
    return given.shape == own.shape or own.dim() == 1 and given.numel() == given.shape[-1] == own.numel()


def _short(names, most: int = 4) -> str:
    if not names:
        return 'none'
    return ', '.join(list(names)[:most]) + (f' and {len(names) - most} more' if len(names) > most else '')
