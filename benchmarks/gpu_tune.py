"""A sweep over the tiles of the depthwise convolution's kernel, which its launcher reads from ``tile_of``."""

from __future__ import annotations

import functools
from unittest import mock

from gpu_operations import arguments, sides
from gpu_run import Run

from convnext_dense.ops import functional

VALUES = range(4, 17)  # of a row, for each thread: fewer load badly, more do not fit the registers


def tiles(toy: bool) -> list[dict]:
    if toy:
        return [dict(BLOCK_W=16, BLOCK_C=32, num_warps=4)]
    return [
        dict(BLOCK_W=wide, BLOCK_C=deep, num_warps=warps)
        for wide in (8, 16, 32)
        for deep in (32, 64, 128)
        for warps in (2, 4, 8)
        if wide * deep // (32 * warps) in VALUES
    ]


def measure_tiles(run: Run, arch: str) -> None:
    """Into ``tune``: milliseconds of ``depthwise_conv`` with each tile, stage by stage."""
    from convnext_dense.kernels import depthwise_conv

    shape = run.report['settings']['shapes'][0]
    for stage, (side, dim) in sides(run, arch, shape).items():
        place = run.at('tune', f'{arch} {"x".join(map(str, shape))} {stage}')
        call = functools.partial(
            functional.depthwise_conv,
            *arguments(run, 'depthwise_conv', side, dim),
            implementation='triton',
        )
        for tile in (depthwise_conv.tile_of(dim), *tiles(run.toy)):
            name = ' '.join(f'{key}={value}' for key, value in tile.items())
            with mock.patch.object(depthwise_conv, 'tile_of', lambda _: tile):
                run.item(place, name, functools.partial(_time, run, call), needs=5.0)


def _time(run: Run, call) -> dict:
    call()
    return {'ms': run.times({'call': call}, seconds=0.2, cold=True)['call']}
