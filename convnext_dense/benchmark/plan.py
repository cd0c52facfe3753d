"""What is measured: a candidate (which network, in which form) under a setup (on what, how)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from convnext_dense.apis.config import ConfigError
from convnext_dense.benchmark.networks import FORWARD_ONLY, NETWORKS, PEERS, installed
from convnext_dense.variants import get_variant

MODES = ('forward', 'train')
DTYPES = ('fp32', 'bf16', 'fp16')
FORMATS = ('channels_first', 'channels_last')
MALLOCS = ('default', 'keep', 'exact')
COMPILE_MODES = ('default', 'reduce-overhead', 'max-autotune', 'max-autotune-no-cudagraphs')


@dataclass(frozen=True)
class Candidate:
    """A network of ``peers.NETWORKS`` in a memory format; ``compile`` is torch.compile's mode, '' for eager."""

    name: str
    memory_format: str = 'channels_last'
    compile: str = ''

    @property
    def label(self) -> str:
        compiled = {'': '', 'default': ', compiled'}.get(self.compile, f', {self.compile}')
        return f'{self.name}, {self.memory_format}{compiled}'

    @property
    def is_peer(self) -> bool:
        return self.name in PEERS


@dataclass(frozen=True)
class Setup:
    """What every candidate gets.

    Args:
        arch: name, or a dict of depths and dims.
        shape: (N, 3, H, W) of the input.
        mode: 'forward' (eval, no gradients) or 'train' (forward, and backward from fixed random gradients of all maps).
        dtype: 'fp32', or 'bf16' and 'fp16' for autocast.
        device: 'cpu' or 'cuda'.
        threads: of torch on a CPU; None leaves it torch's.
        malloc: of glibc on a CPU. 'keep' gives no block back to the system, which saves page faults; 'exact' gives
            every large one back at once: peaks then have no share of fragmented free memory, but times suffer.
        untimed: runs at the beginning of each turn that are not counted.
        timed: runs of a turn that are.
    """

    arch: str | dict = 'tiny'
    shape: tuple[int, int, int, int] = (1, 3, 512, 512)
    mode: str = 'forward'
    dtype: str = 'fp32'
    device: str = 'cpu'
    threads: int | None = None
    drop_path_rate: float = 0.0
    malloc: str = 'default'
    untimed: int = 0
    timed: int = 1


def parse_shape(text: str) -> tuple[int, int, int, int]:
    """(1, 3, 512, 512) from '1x3x512x512'.

    Raises:
        ConfigError: it is none, its channels are not 3, or a side is less than 32.
    """
    match = re.fullmatch(r'(\d+)x(\d+)x(\d+)x(\d+)', text)
    shape = tuple(map(int, match.groups())) if match else ()
    if not shape or shape[0] < 1 or shape[1] != 3 or min(shape[2:]) < 32:
        raise ConfigError(
            f'a shape is batch x 3 x height x width, such as 1x3x512x512, with sides of 32 or more; got '
            f'{text!r}'
        )
    return shape


def default_device() -> str:
    """'cuda' where torch finds a GPU, or 'cpu'."""
    import torch

    return 'cuda' if torch.cuda.is_available() else 'cpu'


def check(
    arch: str | dict,
    device: str = 'cpu',
    rounds: int = 1,
    drop_path_rate: float = 0.0,
    threads: int | None = None,
) -> None:
    """Raise ConfigError where the arch is not known, the device is not there, or a number is out of range."""
    import torch

    try:
        get_variant(arch)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError(
            'there is no CUDA GPU here, or this torch cannot use it; --device cpu measures the CPU'
        )
    if rounds < 1:
        raise ConfigError(f'at least one round is needed; got {rounds}')
    if threads is not None and threads < 1:
        raise ConfigError(f'at least one thread is needed; got {threads}')
    if not 0 <= drop_path_rate < 1:
        raise ConfigError(f'drop path is a probability in [0, 1); got {drop_path_rate}')


def check_modes(names: Iterable[str], modes: Iterable[str]) -> None:
    """Raise ConfigError where training is asked for, and no network has a backward pass."""
    if 'train' in modes and FORWARD_ONLY.issuperset(names):
        raise ConfigError(
            f'{", ".join(map(repr, names))} has no backward pass: --mode forward, or add another network'
        )


def choose(names: Iterable[str]) -> list[str]:
    """Names of networks that can be built; 'all' stands for every one that can, 'peers' for every library's.

    Raises:
        ConfigError: a name that is none, or whose library is not installed.
    """
    reasons, chosen = installed(), []
    groups = {'all': list(NETWORKS), 'peers': list(PEERS)}
    for name in names:
        if name in groups:
            chosen += [one for one in groups[name] if not reasons[one]]
        elif name not in NETWORKS:
            raise ConfigError(
                f'no network {name!r}; choose from all, peers, {", ".join(map(repr, NETWORKS))}'
            )
        elif reasons[name]:
            raise ConfigError(
                f'{name!r} cannot be measured: {reasons[name]}; install it or leave it out'
            )
        else:
            chosen.append(name)
    return list(dict.fromkeys(chosen))


def list_candidates(
    names: Sequence[str],
    formats: Sequence[str] = FORMATS,
    compile_modes: Sequence[str] = ('',),
    mode: str = 'forward',
) -> list[Candidate]:
    """Every name in every format and every form; what has no backward pass is left out of training, and what has a
    form of its own for inference is not compiled."""
    return [
        Candidate(name, memory_format, compiled)
        for name in names
        for memory_format in formats
        for compiled in compile_modes
        if not (name in FORWARD_ONLY and (mode != 'forward' or compiled))
    ]
