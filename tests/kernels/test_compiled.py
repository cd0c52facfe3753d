"""Kernels as a compiler sees them, without a GPU: offsets, registers and tensor cores."""

import re

import pytest
import torch

pytest.importorskip('triton')

import ahead_of_time
from triton._C.libtriton import ir
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend

from convnext_dense.kernels.random_arguments import OPERATIONS


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))


def write_first_form(launch) -> str:
    """Triton's own form of the kernel before any pass, as text."""
    target = GPUTarget('cuda', 90, 32)
    backend = make_backend(target)
    options = backend.parse_options(dict(launch.options))
    context = ir.context()
    ir.load_dialects(context)
    backend.load_dialects(context)
    functions = backend.get_codegen_implementation(options)
    modules = backend.get_module_map()
    return str(launch.make_source().make_ir(target, options, functions, modules, context))


@pytest.mark.parametrize('operation', OPERATIONS)
def test_rows_start_at_64_bits(operation):
    """A map may pass 2^31 elements, a tile may not: pointers move by 64 bits, then by 32."""
    for launch in ahead_of_time.record_operation(operation, 64, torch.bfloat16):
        text = write_first_form(launch)
        for tile, offset in re.findall(
            r'tt\.addptr .* : (tensor<[^,]*)?!tt\.ptr<\w+>>?, (\S+)', text
        ):
            expected = 'i32' if tile else 'i64'
            assert re.search(r'i\d+', offset.split('x')[-1])[0] == expected, launch.name


def test_launch_covers_more_elements_than_32_bits_count():
    x = torch.empty((2**13, 64, 64, 256), dtype=torch.bfloat16, device='meta')  # 2^33 elements
    with ahead_of_time.recorded_launches() as launches:
        ahead_of_time.TritonOps().layer_norm(x, x.new_empty(256), x.new_empty(256))
    (launch,) = launches
    assert launch.programs * launch.arguments['ROWS'] == 2**25


def test_a_kernel_compiles_without_a_gpu():
    (launch,) = ahead_of_time.record_operation('layer_norm', 96, torch.bfloat16)
    registers, stack, _ = launch.measure(90)
    assert 0 < registers <= 255
    assert stack == 0


@pytest.mark.slow
@pytest.mark.parametrize('arch', ahead_of_time.SHARED_BYTES)
@pytest.mark.parametrize('operation', OPERATIONS)
def test_no_registers_are_spilled(operation, arch):
    """Option -s prints the figures. A thread has a stack only for registers that are spilled."""
    for channels in ahead_of_time.WIDTHS:
        for launch in ahead_of_time.record_operation(operation, channels, torch.bfloat16):
            registers, stack, shared = launch.measure(arch)
            print(f'{launch.name}, C = {channels}, sm_{arch}: {registers} registers, {shared} B')
            assert stack == 0, launch.name
            assert shared <= ahead_of_time.SHARED_BYTES[arch], launch.name


@pytest.mark.slow
@pytest.mark.parametrize(
    ('arch', 'instruction'),
    [(80, 'mma.sync'), (90, 'wgmma.mma_async'), (100, 'tcgen05.mma')],
)
@pytest.mark.parametrize('operation', ['linear_gelu', 'linear_residual'])
def test_products_run_on_tensor_cores(operation, arch, instruction):
    (launch,) = ahead_of_time.record_operation(operation, 192, torch.bfloat16)
    assert instruction in launch.compile(arch).asm['ptx']
