"""The operations of the ConvNeXt block, chosen by device: ``get_ops(x.device).layer_norm(x, ...)``.

:class:`BlockOps` lists the operations, :class:`TorchOps` is their reference in plain torch,
:class:`CpuOps` the faster forms for CPUs. ``convnext_dense.kernels.TritonOps`` is a third
implementation, which nothing here imports. To run with it, put it into :data:`BY_DEVICE`::

    ops.BY_DEVICE['cuda'] = TritonOps()
"""

import torch

from convnext_dense.ops.cpu_ops import CpuOps
from convnext_dense.ops.protocol import BlockOps
from convnext_dense.ops.torch_ops import TorchOps

__all__ = ['BY_DEVICE', 'TORCH_OPS', 'BlockOps', 'CpuOps', 'TorchOps', 'get_ops']

# The reference; also what runs on a device type that BY_DEVICE does not name.
TORCH_OPS = TorchOps()

# The implementation for each type of device.
BY_DEVICE: dict[str, BlockOps] = {'cpu': CpuOps(), 'cuda': TORCH_OPS}


def get_ops(device: torch.device) -> BlockOps:
    """The implementation of the block's operations for tensors on ``device``."""
    return BY_DEVICE.get(device.type, TORCH_OPS)
