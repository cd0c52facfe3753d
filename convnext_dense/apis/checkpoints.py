"""Which objects, beside tensors, a training checkpoint of mmengine may hold."""
import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def allow_training_checkpoints() -> None:
    """Let torch's safe loader read mmengine's own training state, so that ``--resume`` works with torch >= 2.6.

    The state holds log histories: HistoryBuffer, with its own methods by name, and numpy arrays and numbers.
    """
    HistoryBuffer()  # registers the names of its methods
    reconstruct = np.zeros(1).__reduce__()[0]  # in another module in numpy 1 than in 2
    scalar = np.float64(0).__reduce__()[0]
    dtypes = [type(np.dtype(kind)) for kind in ('f8', 'f4', 'i8', 'i4', '?')]
    torch.serialization.add_safe_globals([
        HistoryBuffer, (_get_history_method, 'builtins.getattr'), reconstruct, scalar, np.ndarray, np.dtype, *dtypes])


def _get_history_method(owner, name: str):
    """``getattr`` for HistoryBuffer's statistics alone: the general one would open a way to run code."""
    if owner is not HistoryBuffer or name not in HistoryBuffer._statistics_methods:
        raise ValueError(f'a checkpoint of mmengine names {name!r} of {owner!r}, which is no statistic of a log history')
    return HistoryBuffer._statistics_methods[name]
