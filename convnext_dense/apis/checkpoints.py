"""Training checkpoints of mmengine, read without running code, and only where they fit the model."""
import os

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from convnext_dense.apis.config import ConfigError
from convnext_dense.checkpoints import fits, read_checkpoint


def allow_training_checkpoints() -> None:
    """Let torch's safe loader read mmengine's own training state, and allow no other loader in this process.

    The state holds log histories: HistoryBuffer, with its own methods by name, and numpy arrays and numbers. mmengine
    0.10.7 cannot resume from them with torch >= 2.6 as it is; OneDL's falls back to a loader that runs what a file
    holds, and that is what the environment variable of torch forbids.
    """
    os.environ['TORCH_FORCE_WEIGHTS_ONLY_LOAD'] = '1'
    HistoryBuffer()  # registers the names of its methods
    reconstruct = np.zeros(1).__reduce__()[0]  # in another module in numpy 1 than in 2
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(kind)) for kind in ('f8', 'f4', 'i8', 'i4', '?')]
    torch.serialization.add_safe_globals([
        HistoryBuffer, (_get_history_method, 'builtins.getattr'), reconstruct, scalar, np.ndarray, np.dtype, *dtypes])


def require_fit(model: nn.Module, checkpoint: str) -> None:
    """Stop when the weights in a file are not all those of ``model``: mmengine's own loading only warns.

    Raises:
        ConfigError: the file cannot be read as weights, or a weight of the model is missing or has another shape.
    """
    own = getattr(model, 'module', model).state_dict()  # DDP and test-time augmentation hold the model so
    try:
        given = read_checkpoint(checkpoint)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    wrong = [f'{name}: {"missing" if name not in given else f"file {tuple(given[name].shape)}"}, model '
             f'{tuple(value.shape)}' for name, value in own.items()
             if name not in given or not fits(given[name], value)]
    if wrong:
        raise ConfigError(f'{checkpoint} does not fit the model of this config: {len(wrong)} of {len(own)} weights are '
                          f'missing or have another shape: {"; ".join(wrong[:3])}. Give the config that trained it.')


def _get_history_method(owner, name: str):
    """``getattr`` for HistoryBuffer's statistics alone: the general one would open a way to run code."""
    if owner is not HistoryBuffer or name not in HistoryBuffer._statistics_methods:
        raise ValueError(f'a checkpoint of mmengine names {name!r} of {owner!r}, which is no statistic of a log history')
    return HistoryBuffer._statistics_methods[name]
