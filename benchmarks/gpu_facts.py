"""What the figures stand on: device, versions, and the two ceilings, a matrix product's and a copy's."""

from __future__ import annotations

import subprocess
import time

import torch
from gpu_run import Run

from convnext_dense.benchmark.report import describe_system

_ASKED = (
    'name',
    'driver_version',
    'clocks.sm',
    'clocks.max.sm',
    'clocks.mem',
    'power.limit',
    'temperature.gpu',
)


def measure_facts(run: Run, arch: str) -> None:
    """Into ``facts``; the arch plays no part."""
    place = run.at('facts')
    run.item(place, 'versions', _versions)
    run.item(place, 'device', lambda: _device(run))
    run.item(place, 'gemm_tflops', lambda: _gemm(run))
    run.item(place, 'copy_tb_s', lambda: _copy(run))
    run.item(place, 'nvidia_smi', _clocks)  # now that it is at work


def _versions() -> dict:
    return {
        'cuda': torch.version.cuda,
        'cudnn': torch.backends.cudnn.version(),
    } | describe_system()['versions']


def _device(run: Run) -> dict:
    if run.toy:
        return {'name': 'CPU, Triton interpreter'}
    about = torch.cuda.get_device_properties(0)
    return {
        'name': about.name,
        'capability': f'{about.major}.{about.minor}',
        'l2_bytes': about.L2_cache_size,
        'multiprocessors': about.multi_processor_count,
        'memory_bytes': about.total_memory,
        'date': time.strftime('%Y-%m-%d'),
    }


def _clocks() -> dict:
    command = ['nvidia-smi', f'--query-gpu={",".join(_ASKED)}', '--format=csv,noheader']
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout
    return dict(zip(_ASKED, answer.splitlines()[0].split(', ')))


def _gemm(run: Run) -> float:
    """TFLOP/s of a square product of random numbers; zeros would run faster."""
    side = 64 if run.toy else 8192
    a, b = (torch.randn(side, side, device=run.device).to(run.dtype) for _ in range(2))
    return _rate(run, lambda: a @ b, 2 * side**3)


def _copy(run: Run) -> float:
    """TB/s, read and written."""
    x = torch.randn(2 ** (16 if run.toy else 28), device=run.device)
    y = torch.empty_like(x)
    return _rate(run, lambda: y.copy_(x), 2 * x.nbytes)


def _rate(run: Run, call, amount: float) -> float:
    for _ in range(3):
        call()
    return float(f'{amount / run.times({"call": call}, seconds=1)["call"] / 1e9:.4g}')
