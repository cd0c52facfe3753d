"""The direction of imports: who in the package may know whom, read from the source and held."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
OWN = 'convnext_dense'
MM_PACKAGES = {'mmcv', 'mmdet', 'mmengine', 'mmpretrain', 'mmseg'}

# part -> what it may import, besides itself and the standard library. Own parts are written '.part'.
MAY_IMPORT = {
    '__init__': {'.mmcv_ops'},
    '__main__': {'.cli'},
    'errors': set(),
    'registry': {'mmengine'},
    'variants': set(),
    'ops': {'torch'},
    'kernels': {'torch', 'triton', '.ops'},
    'layers': {'torch', 'timm', '.variants', '.ops'},
    'checkpoints': {
        'numpy',
        'torch',
        'safetensors',
        'timm',
        'huggingface_hub',
        '.variants',
    },
    'mmcv_ops': {'torch', 'torchvision'},
    'scenes': {'numpy'},
    'data': {'numpy', 'PIL', 'scipy', '.scenes'},
    'models': {
        'torch',
        'torchvision',
        'timm',
        'mmengine',
        '.',
        '.layers',
        '.variants',
        '.registry',
        '.checkpoints',
    },
    'datasets': {'numpy', 'PIL', 'torch', 'torchvision', 'timm', 'mmengine', '.registry', '.data'},
    'engine': {'numpy', 'torch', 'mmengine', 'rich', '.', '.registry', '.checkpoints'},
    'evaluation': {'numpy', 'torch', 'mmengine', 'rich', 'pycocotools', '.registry'},
    'visualization': {'numpy', 'PIL', 'torch', 'mmengine', '.registry'},
    'apis': {
        'numpy',
        'PIL',
        'rich',
        'torch',
        'timm',
        *MM_PACKAGES,
        '.',
        '.registry',
        '.variants',
        '.layers',
        '.models',
        '.engine',
        '.evaluation',
        '.visualization',
        '.checkpoints',
        '.mmcv_ops',
        '.data',
        '.datasets',
    },
    'plug': {'torch', *MM_PACKAGES, '.', '.apis', '.checkpoints', '.variants', '.registry'},
    'benchmark': {
        'torch',
        'timm',
        'torchvision',
        'transformers',
        'mmengine',
        'mmpretrain',
        'matplotlib',
        '.models',
        '.variants',
    },
}
MAY_IMPORT['cli'] = {'mmengine', '.', *(f'.{part}' for part in MAY_IMPORT)}
TOOLS_MAY_IMPORT = {'.cli'}
ONLY_WHEN_NEEDED = {
    'mmcv',
    'mmdet',
    'mmseg',
    'mmpretrain',
    'triton',
    'huggingface_hub',
    'pycocotools',
    'scipy',
    'transformers',
    'matplotlib',
}


class Import(NamedTuple):
    """One import: where it stands, what it names ('torch', '.layers', or '.' for the package), if at import time."""

    path: Path
    line: int
    target: str
    at_import: bool

    def __str__(self):
        return f'{self.path.relative_to(ROOT)}:{self.line} imports {self.target}'


def _names(node: ast.AST, package: str) -> list[str]:
    """Dotted names that a node imports: import statements, and importlib's function with a literal."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = (
            '.'.join(package.split('.')[: len(package.split('.')) - node.level + 1])
            if node.level
            else ''
        )
        module = '.'.join(filter(None, [base, node.module]))
        return [f'{module}.{alias.name}' for alias in node.names] if module == OWN else [module]
    if (
        isinstance(node, ast.Call)
        and getattr(node.func, 'attr', getattr(node.func, 'id', '')) == 'import_module'
    ):
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)]
    return []


def _target(name: str) -> str:
    if name.split('.')[0] != OWN:
        return name.split('.')[0]
    part = (name.split('.') + [''])[1]
    return f'.{part}' if part in MAY_IMPORT else '.'


def _imports(path: Path, source: str | None = None) -> list[Import]:
    package = '.'.join(path.relative_to(ROOT).parent.parts)
    found = []

    def walk(node: ast.AST, at_import: bool):
        found.extend(
            Import(path, node.lineno, _target(name), at_import) for name in _names(node, package)
        )
        for child in ast.iter_child_nodes(node):
            walk(
                child,
                at_import
                and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)),
            )

    walk(ast.parse(path.read_text(encoding='utf-8') if source is None else source), True)
    return [
        found_import for found_import in found if found_import.target not in sys.stdlib_module_names
    ]


def _part(path: Path) -> str:
    return path.relative_to(ROOT / OWN).parts[0].removesuffix('.py')


def _forbidden(path: Path, allowed: set[str], source: str | None = None) -> list[str]:
    return [str(one) for one in _imports(path, source) if one.target not in allowed]


SOURCES = sorted((ROOT / OWN).rglob('*.py'))


@pytest.mark.parametrize('part', MAY_IMPORT)
def test_part_imports_only_what_it_may(part):
    paths = [path for path in SOURCES if _part(path) == part]
    allowed = MAY_IMPORT[part] | {f'.{part}', '.errors'}
    assert not [line for path in paths for line in _forbidden(path, allowed)]


def test_every_part_has_a_rule():
    assert {_part(path) for path in SOURCES} <= set(MAY_IMPORT)


def test_tools_only_parse_and_call():
    assert not [
        line
        for path in sorted((ROOT / 'tools').glob('*.py'))
        for line in _forbidden(path, TOOLS_MAY_IMPORT)
    ]


def test_optional_packages_are_imported_only_when_needed():
    """mmdet and mmseg are slow and not in the core install; triton kernels have a folder of their own."""
    early = [
        str(one)
        for path in SOURCES
        if path.parent.name != 'kernels'
        for one in _imports(path)
        if one.at_import and one.target in ONLY_WHEN_NEEDED
    ]
    assert not early


@pytest.mark.parametrize(
    'part, source',
    [
        ('ops', 'import mmengine'),
        ('layers', 'from mmcv.cnn import ConvModule'),
        ('layers', 'from convnext_dense.models import ConvNeXt'),
        ('layers', 'from ..models import ConvNeXt'),
        ('models', 'def build():\n    from mmdet.registry import MODELS'),
        ('engine', 'from importlib import import_module\nimport_module("mmseg.models")'),
        ('checkpoints', 'from convnext_dense import layers'),
        ('data', 'from convnext_dense import ConvNeXt'),
        ('data', 'import torch'),
        ('variants', 'import numpy as np'),
    ],
)
def test_walk_sees_a_forbidden_import(part, source):
    path = ROOT / OWN / f'{part}.py' if part == 'variants' else ROOT / OWN / part / 'new.py'
    assert _forbidden(path, MAY_IMPORT[part] | {f'.{part}'}, source)


def test_importing_the_package_is_light():
    """``import convnext_dense`` brings neither torch nor an mm* package: a version query answers in milliseconds."""
    heavy = sorted(MM_PACKAGES | {'torch', 'torchvision', 'timm', 'numpy', 'triton'})
    code = f'import sys, {OWN}; print(*[name for name in {heavy} if name in sys.modules])'
    run = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == ''
