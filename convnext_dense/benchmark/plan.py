"""What is measured: a candidate (a network and how it runs) under a setup (on what)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convnext_dense.benchmark.networks import NETWORKS, PEERS

MODES = ('forward', 'train')
DTYPES = ('fp32', 'bf16', 'fp16')
FORMATS = ('channels_first', 'channels_last')
COMPILE_MODES = ('default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs')


@dataclass(frozen=True)
class Candidate:
    """A network of ``NETWORKS`` in a memory format; ``compile`` is torch.compile's mode or ''."""

    name: str
    memory_format: str = 'channels_last'
    compile: str = ''

    @property
    def label(self) -> str:
        """Name in tables and pictures."""
        parts = [self.name, self.memory_format]
        if self.compile:
            parts.append('compiled' if self.compile == 'default' else self.compile)
        return ', '.join(parts)

    @property
    def is_peer(self) -> bool:
        """Whether this is a library's network."""
        return self.name in PEERS

    @property
    def is_library_default(self) -> bool:
        """Whether this is what a library gives without options: eager, and for timm no conv_mlp."""
        return self.is_peer and not self.compile and self.name != 'timm conv_mlp'


@dataclass(frozen=True)
class Setup:
    """What every candidate gets.

    Args:
        arch: name, or a dict of depths and dims.
        shape: (N, 3, H, W) of the images.
        mode: 'forward' (eval, no gradients), or 'train' (forward, then backward from fixed random
            gradients w.r.t. all maps).
        dtype: 'fp32', or 'bf16' and 'fp16' for autocast.
        device: 'cpu' or 'cuda'.
        threads: of torch on a CPU; None leaves them as they are.
        drop_path_rate: of the last block.
        untimed: runs at the start of each turn that are not counted.
        timed: runs of a turn that are counted.
    """

    arch: str | dict = 'tiny'
    shape: tuple[int, int, int, int] = (1, 3, 512, 512)
    mode: str = 'forward'
    dtype: str = 'fp32'
    device: str = 'cpu'
    threads: int | None = None
    drop_path_rate: float = 0.0
    untimed: int = 0
    timed: int = 1


def find_device() -> str:
    """'cuda' where torch finds a GPU that it can use, else 'cpu'."""
    import torch

    return 'cuda' if torch.cuda.is_available() else 'cpu'


def list_candidates(
    names: Sequence[str],
    formats: Sequence[str] = FORMATS,
    compile_modes: Sequence[str] = ('',),
    mode: str = 'forward',
) -> list[Candidate]:
    """Every network in every memory format, eager and compiled as ``compile_modes`` says.

    A network without a backward pass is packed for inference: it is neither trained nor compiled.
    """
    candidates = []
    for name in names:
        for memory_format in formats:
            for compile_mode in compile_modes:
                is_eager_forward = mode == 'forward' and not compile_mode
                if NETWORKS[name].has_backward or is_eager_forward:
                    candidates.append(Candidate(name, memory_format, compile_mode))
    return candidates
