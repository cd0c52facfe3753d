"""Kernels as a compiler sees them, without a GPU: 64-bit starts of rows, and registers that suffice."""

import re
from importlib import util
from pathlib import Path

import pytest
import torch

pytest.importorskip('triton')

from convnext_dense.ops import dispatch  # noqa: E402


@pytest.fixture(scope='module')
def aot():
    """``benchmarks/kernels_aot.py``."""
    path = Path(__file__).resolve().parents[2] / 'benchmarks' / 'kernels_aot.py'
    spec = util.spec_from_file_location('kernels_aot', path)
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _moves(source: str) -> dict[str, set[str]]:
    """How pointers are moved in Triton's first form of a kernel: types of offsets, of one pointer and of tiles."""
    found = re.findall(r'tt\.addptr .* : (tensor<[^,]*)?!tt\.ptr<\w+>>?, (\S+)', source)
    return {
        'one': {offset for tile, offset in found if not tile},
        'tile': {re.search(r'x?(i\d+)>?$', offset)[1] for tile, offset in found if tile},
    }


@pytest.mark.parametrize('operation', dispatch.OPERATIONS)
def test_rows_start_at_64_bits(aot, operation):
    """Past 2^31 elements a 32-bit start of a row would wrap. Within a tile 32 bits suffice; ``dispatch`` sees to it."""
    for launch in aot.launches_of(operation, 64, torch.bfloat16):
        moves = _moves(launch.first_form())
        assert moves == {'one': {'i64'}, 'tile': {'i32'}}, launch.kernel.__name__


def test_launch_counts_programs_past_32_bit_elements(aot):
    """2^33 elements: the grid covers them, without a byte of them."""
    x = torch.empty((2**13, 64, 64, 256), dtype=torch.bfloat16, device='meta')
    with aot.recorded() as launches:
        aot.registered.kernel('layer_norm')(x, x.new_empty(256), x.new_empty(256))
    (launch,) = launches
    assert launch.programs * launch.arguments['ROWS'] == 2**25 == launch.arguments['n_rows']


@pytest.mark.slow
@pytest.mark.parametrize('operation', dispatch.OPERATIONS)
def test_nothing_spills(aot, operation, tmp_path, monkeypatch):
    """Compiled for sm_90 at each width of the benchmark, in bf16."""
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    for _, name, _, channels, _, used in aot.rows([90], ['bfloat16'], [operation]):
        ((registers, stack, shared),) = used
        assert stack == 0 and registers <= 255 and shared <= 227 * 1024, (name, channels, used)


@pytest.mark.slow
@pytest.mark.parametrize(
    'arch, instruction', [(80, 'mma.sync'), (90, 'wgmma.mma_async'), (100, 'tcgen05.mma')]
)
@pytest.mark.parametrize('operation', ['linear_gelu', 'linear_residual', 'mlp_backward'])
def test_products_run_on_tensor_cores(aot, operation, arch, instruction, tmp_path, monkeypatch):
    """On each generation's own instruction."""
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    (launch,) = aot.launches_of(operation, 192, torch.bfloat16)
    assert instruction in launch.compile(arch).asm['ptx']


def test_a_kernel_compiles(aot, tmp_path, monkeypatch):
    """The quickest one: the way that the slow test above goes."""
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    *_, used = next(aot.rows([90], ['bfloat16'], ['gelu_backward']))
    assert used[0][1] == 0
