"""The memory reader of all benchmarks: peaks, bytes saved for the backward pass, free memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

MIB = 2**20
# Makes glibc return each freed block, so that a peak has no share of fragmented free memory.
EXACT_MALLOC = {'MALLOC_MMAP_THRESHOLD_': '65536'}


def measure_peak(call: Callable[[], object], device: str = 'cpu') -> int | None:
    """Highest number of bytes in use during ``call()``, above those in use before it.

    On a CPU this is resident memory, on CUDA what torch's allocator gave. None where the operating
    system does not tell (only Linux does).
    """
    release_free_memory()
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        return torch.cuda.max_memory_allocated() - before
    resident = read_own('VmRSS')
    try:
        Path('/proc/self/clear_refs').write_text('5')  # resets VmHWM
    except OSError:
        return None
    call()
    peak = read_own('VmHWM')
    if resident is None or peak is None:
        return None
    return max(peak - resident, 0)


def count_saved_bytes(forward: Callable[[], object], excluded: Iterable[Tensor]) -> int:
    """Bytes that ``forward()`` keeps for the backward pass; a shared storage counts once.

    Args:
        forward: runs with gradients enabled and returns its outputs.
        excluded: tensors that are there anyway, such as the parameters and the input.
    """
    ignored = {tensor.untyped_storage().data_ptr() for tensor in excluded}
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in ignored:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        # While the outputs live, their graph keeps each storage, so no address is used twice.
        outputs = forward()
    del outputs
    return sum(saved.values())


def release_free_memory() -> None:
    """Return freed blocks to the system, so that idle processes hold little memory."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL('libc.so.6').malloc_trim(0)


def read_own(field: str) -> int | None:
    """Bytes of this process: VmRSS (resident), VmHWM (its peak) or RssAnon; None off Linux."""
    return _read_field('/proc/self/status', field)


def read_available() -> int | None:
    """Bytes that a new process could use on this machine; None off Linux."""
    return _read_field('/proc/meminfo', 'MemAvailable')


def _read_field(path: str, field: str) -> int | None:
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            if line.startswith(f'{field}:'):
                return 1024 * int(line.split()[1])
    return None
