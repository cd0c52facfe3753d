"""The direction of imports: what each part of the package may import, checked in the source."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
OWN = 'convnext_dense'
MM_PACKAGES = {'mmcv', 'mmdet', 'mmengine', 'mmpretrain', 'mmseg'}

# part -> what it may import besides itself and the standard library; '.x' is our own part x.
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
        'yaml',
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
    """An import.

    Attributes:
        path: the file.
        line: its line.
        target: 'torch', '.layers' or '.' for the package itself.
        at_import: whether it runs when the module is imported.
    """

    path: Path
    line: int
    target: str
    at_import: bool

    def __str__(self):
        return f'{self.path.relative_to(ROOT)}:{self.line} imports {self.target}'


def _names(node: ast.AST, package: str) -> list[str]:
    """Dotted names that an import statement, or import_module with a literal, imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = _resolve(node, package)
        if module == OWN:
            return [f'{module}.{alias.name}' for alias in node.names]
        return [module]
    if isinstance(node, ast.Call):
        function = getattr(node.func, 'attr', getattr(node.func, 'id', ''))
        if function == 'import_module' and isinstance(node.args[0], ast.Constant):
            return [node.args[0].value]
    return []


def _resolve(node: ast.ImportFrom, package: str) -> str:
    """Absolute name of the module in ``from module import ...``."""
    if node.level == 0:
        return node.module
    parents = package.split('.')
    base = '.'.join(parents[: len(parents) - node.level + 1])
    return f'{base}.{node.module}' if node.module else base


def _target(name: str) -> str:
    package, *rest = name.split('.')
    if package != OWN:
        return package
    if rest and rest[0] in MAY_IMPORT:
        return f'.{rest[0]}'
    return '.'


def _imports(path: Path, source: str | None = None) -> list[Import]:
    package = '.'.join(path.relative_to(ROOT).parent.parts)
    found = []

    def walk(node: ast.AST, at_import: bool) -> None:
        for name in _names(node, package):
            found.append(Import(path, node.lineno, _target(name), at_import))
        is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            walk(child, at_import and not is_function)

    if source is None:
        source = path.read_text(encoding='utf-8')
    walk(ast.parse(source), True)
    return [imported for imported in found if imported.target not in sys.stdlib_module_names]


def _part(path: Path) -> str:
    return path.relative_to(ROOT / OWN).parts[0].removesuffix('.py')


def _forbidden(path: Path, allowed: set[str], source: str | None = None) -> list[str]:
    return [str(found) for found in _imports(path, source) if found.target not in allowed]


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
    """The optional packages are slow or not installed; only the room of kernels needs triton."""
    early = [
        str(found)
        for path in SOURCES
        if path.parent.name != 'kernels'
        for found in _imports(path)
        if found.at_import and found.target in ONLY_WHEN_NEEDED
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
def test_a_forbidden_import_is_found(part, source):
    path = ROOT / OWN / f'{part}.py' if part == 'variants' else ROOT / OWN / part / 'new.py'
    assert _forbidden(path, MAY_IMPORT[part] | {f'.{part}'}, source)


def test_importing_the_package_is_light():
    """``import convnext_dense`` imports neither torch nor an mm* package."""
    heavy = sorted(MM_PACKAGES | {'torch', 'torchvision', 'timm', 'numpy', 'triton'})
    code = f'import sys, {OWN}; print(*[name for name in {heavy} if name in sys.modules])'
    run = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == ''
