"""The import hook: each case in a new interpreter with a small package named mmcv."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).parents[2])


def run(code, *path, flags=()):
    result = subprocess.run(
        [sys.executable, *flags, '-c', code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join([*map(str, path), ROOT])},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.fixture
def mmcv_folder(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text('')
    (tmp_path / 'mmcv' / 'ops.py').write_text(
        'from importlib import import_module\next = import_module("mmcv._ext")\n'
    )
    return tmp_path


def test_install_is_light_last_and_idempotent():
    assert run(
        'import sys\n'
        'from convnext_dense.mmcv_ops import install\n'
        'install(); install()\n'
        'names = [getattr(f, "__name__", "") for f in sys.meta_path]\n'
        'print(names.count("StandInFinder"), names[-1])\n'
        'heavy = ("torch", "torchvision", "mmcv", "mmengine", "numpy")\n'
        'print([name for name in heavy if name in sys.modules])'
    ) == ['1', 'StandInFinder', '[]']


def test_import_of_the_package_installs_it(mmcv_folder):
    out = run(
        'import sys, convnext_dense\n'
        'from importlib.util import find_spec\n'
        'print(find_spec("mmcv._ext").origin, "torch" in sys.modules, find_spec("mmcv._other"))',
        mmcv_folder,
    )
    assert out[0].endswith(os.path.join('convnext_dense', 'mmcv_ops', 'ext.py'))
    assert out[1:] == ['False', 'None']


def test_without_mmcv():
    # -S leaves site-packages out.
    assert run(
        'from convnext_dense.mmcv_ops import install; install()\n'
        'try:\n'
        '    import mmcv._ext\n'
        'except ModuleNotFoundError as e:\n'
        '    print(e.name)',
        flags=['-S'],
    ) == ['mmcv']


def test_a_compiled_mmcv_is_preferred(mmcv_folder):
    (mmcv_folder / 'mmcv' / '_ext.py').write_text('KIND = "compiled"')
    assert run(
        'from convnext_dense.mmcv_ops import install; install()\n'
        'import mmcv.ops\n'
        'print(mmcv.ops.ext.KIND, hasattr(mmcv.ops.ext, "nms"))',
        mmcv_folder,
    ) == ['compiled', 'False']


def test_a_broken_compiled_mmcv_is_not_hidden(mmcv_folder):
    (mmcv_folder / 'mmcv' / '_ext.py').write_text('raise ImportError("undefined symbol: _ZN2at")')
    assert run(
        'from convnext_dense.mmcv_ops import install; install()\n'
        'try:\n'
        '    import mmcv.ops\n'
        'except ImportError as e:\n'
        '    print(e)',
        mmcv_folder,
    ) == ['undefined', 'symbol:', '_ZN2at']


def test_after_a_failed_import_of_the_ops(mmcv_folder):
    assert run(
        'import mmcv\n'
        'try:\n'
        '    import mmcv.ops\n'
        'except ModuleNotFoundError as e:\n'
        '    print(e.name)\n'
        'from convnext_dense.mmcv_ops import install; install()\n'
        'import mmcv.ops\n'
        'print(mmcv.ops.ext.nms.__module__)',
        mmcv_folder,
    ) == ['mmcv._ext', 'convnext_dense.mmcv_ops.nms']
