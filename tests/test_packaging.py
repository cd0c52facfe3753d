"""Metadata, extras, lock files and what the README promises agree with each other."""

import ast
import configparser
import os
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from importlib import import_module, metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ('3.10', '3.11', '3.12', '3.13', '3.14')
STACKS = ('onedl', 'openmmlab')
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / 'setup.cfg', encoding='utf-8')

# Asked for by a package of the lock and left out on purpose; requirements/base.txt says why.
LEFT_OUT = {'imagecorruptions-imaug', 'opencv-python'}
# Not written by us, or not source.
SKIPPED = {
    '.mypy_cache',
    '.ruff_cache',
    '.git',
    '.venv',
    '.overlay',
    '.peers',
    '.pytest_cache',
    '__pycache__',
    'build',
    'data',
    'work_dirs',
}


def _listed(text: str) -> dict[str, Requirement]:
    requirements = [
        Requirement(line) for line in text.splitlines() if line and not line.startswith('#')
    ]
    return {canonicalize_name(one.name): one for one in requirements}


def _core() -> dict[str, Requirement]:
    return _listed(SETUP['options']['install_requires'])


def _extra(name: str) -> dict[str, Requirement]:
    return _listed(SETUP['options.extras_require'][name])


def _lines(name: str) -> list[str]:
    """Pins of a lock file, those of the files it includes first."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text(encoding='utf-8').splitlines()
    included = [
        line
        for one in lines
        if one.startswith('-r ')
        for line in _lines(one[3:].removesuffix('.txt'))
    ]
    return included + [line for line in lines if line and not line.startswith(('#', '-r '))]


def _lock(name: str, python: str) -> dict[str, str]:
    """{package: version} of a lock file on one Python."""
    environment = {'python_version': python, 'python_full_version': f'{python}.0'}
    found = [
        one
        for one in map(Requirement, _lines(name))
        if one.marker is None or one.marker.evaluate(environment)
    ]
    names = [canonicalize_name(one.name) for one in found]
    assert len(names) == len(set(names)), (
        f'{name}.txt pins a package twice for Python {python}: {names}'
    )
    return {canonicalize_name(one.name): next(iter(one.specifier)).version for one in found}


def _unmet(wanted: dict[str, Requirement], lock: dict[str, str]) -> list[str]:
    """Requirements that the lock does not satisfy; cv2 comes from the headless distribution."""
    lock = {'opencv-python': lock.get('opencv-python-headless', '0'), **lock}
    return [
        str(one) for name, one in wanted.items() if not one.specifier.contains(lock.get(name, '0'))
    ]


def _sources() -> list[Path]:
    """Every text file that a reader of the repository gets."""
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            one for one in folders if one not in SKIPPED and not one.endswith('.egg-info')
        ]
        # In a git worktree, .git is a file.
        found += [Path(folder, one) for one in files if one not in SKIPPED]
    return [
        path
        for path in found
        if path.suffix in {'', '.cfg', '.md', '.py', '.toml', '.txt', '.yaml', '.json'}
    ]


@pytest.mark.parametrize('name', [*STACKS, 'test', 'peers', 'lint'])
def test_lock_pins_exactly(name):
    pin = re.compile(r'[a-z0-9-]+==[\w.]+(; python_version [<>]=? "3\.\d+")?')
    assert [line for line in _lines(name) if not pin.fullmatch(line)] == []


@pytest.mark.parametrize('python', PYTHONS)
@pytest.mark.parametrize('name', STACKS)
def test_lock_satisfies_core_and_extras(name, python):
    lock = _lock(name, python) | _lock('test', python)
    assert _unmet(_core() | _extra(name) | _extra('test'), lock) == []


@pytest.mark.parametrize('python', PYTHONS)
def test_stacks_differ_in_the_mm_packages_only(python):
    """A result on one stack and not on the other is then due to them."""
    onedl, openmmlab = (_lock(name, python) for name in STACKS)
    assert {'torch', 'torchvision', 'timm', 'numpy'} <= onedl.keys()
    assert {
        name: version for name, version in openmmlab.items() if onedl.get(name) != version
    }.keys() == {'mmcv-lite', 'mmdet', 'mmengine', 'mmsegmentation'}


def test_lock_is_complete():
    """``--no-deps`` adds nothing: every requirement of a pinned package is pinned or left out."""
    lock = _lock('onedl', '.'.join(map(str, sys.version_info[:2])))
    installed = {canonicalize_name(one.name): one.version for one in metadata.distributions()}
    missing = set()
    for name in [name for name, version in lock.items() if installed.get(name) == version]:
        needs = [Requirement(line) for line in metadata.requires(name) or []]
        missing |= {
            canonicalize_name(need.name)
            for need in needs
            if need.marker is None or need.marker.evaluate({'extra': ''})
        } - lock.keys()
    assert missing - LEFT_OUT == set()


def test_core_install_forces_no_mm_family():
    assert [name for name in _core() if name.startswith(('mm', 'onedl'))] == []


def test_core_install_has_what_the_package_imports():
    trees = [
        ast.parse(path.read_text(encoding='utf-8'))
        for path in (ROOT / 'convnext_dense').rglob('*.py')
    ]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    third_party = {name.split('.')[0].lower() for name in names} - {
        one.lower() for one in sys.stdlib_module_names
    }
    with_a_stack = {
        'mmcv',
        'mmdet',
        'mmengine',
        'mmseg',
        'pycocotools',
        'cv2',
        'matplotlib',
        'scipy',
        'yaml',
    }
    if_installed = {'mmpretrain', 'transformers'}  # apis/benchmark measures them where they are
    other_name = {'pil': 'pillow', 'triton': 'torch', 'huggingface_hub': 'huggingface-hub'}
    needed = (
        {other_name.get(one, one) for one in third_party}
        - with_a_stack
        - if_installed
        - {'convnext_dense'}
    )
    assert needed <= set(_core())


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A folder with what the wheel holds, built from a copy without stale build files."""
    source = tmp_path_factory.mktemp('source')
    for name in ('convnext_dense', 'configs'):
        shutil.copytree(ROOT / name, source / name)
    for name in ('setup.py', 'setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    options = ['--quiet', '--no-deps', '--no-build-isolation', '--no-index', '--wheel-dir', source]
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', *options, source], check=True)
    (wheel,) = source.glob('*.whl')
    folder = tmp_path_factory.mktemp('installed')
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def _run_installed(folder, *args, cwd):
    return subprocess.run(
        [sys.executable, '-m', 'convnext_dense', *args],
        cwd=cwd,
        env=os.environ | {'PYTHONPATH': _put_first(folder)},
        capture_output=True,
        text=True,
    )


def _put_first(folder: Path) -> str:
    """PYTHONPATH with ``folder`` in place of the checkout."""
    others = os.environ.get('PYTHONPATH', '').split(os.pathsep)
    kept = [other for other in others if other != str(ROOT)]
    return os.pathsep.join([str(folder), *kept])


def test_wheel_holds_every_config_and_the_command(installed):
    own = installed / 'convnext_dense' / 'configs'
    suffixes = {'.py', '.yml'}
    for folder in (ROOT / 'configs', ROOT / 'configs' / '_base_'):
        copied = own / folder.relative_to(ROOT / 'configs')
        shipped = {path.name for path in folder.iterdir() if path.suffix in suffixes}
        assert {path.name for path in copied.iterdir() if path.is_file()} == shipped
    (entry_points,) = installed.glob('*.dist-info/entry_points.txt')
    assert 'convnext-dense = convnext_dense.cli:main' in entry_points.read_text()


@pytest.mark.slow
def test_installed_command_lists_the_configs(installed, tmp_path):
    run = _run_installed(installed, 'recipes', cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert 'upernet_convnext_t_ade20k' in run.stdout


def test_installed_command_reads_a_config_by_its_name(installed, tmp_path):
    """The config and its bases are read; the data set of the config is what is missing."""
    run = _run_installed(installed, 'train', 'upernet_convnext_t_ade20k', cwd=tmp_path)
    assert run.returncode == 1
    assert 'error: ADE20K (SceneParse150) is not complete under' in run.stderr
    assert 'upernet_convnext_t_ade20k --sample' in run.stderr


@pytest.mark.slow
def test_installed_command_trains_on_the_sample(installed, tmp_path):
    short = ['train_cfg.max_iters=2', 'train_cfg.val_interval=2', 'model.decode_head.channels=32']
    args = ['upernet_convnext_t_ade20k', '--sample', '--cfg-options', *short]
    run = _run_installed(installed, 'train', *args, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert 'Done. ' in run.stdout and 'is not loaded' in run.stdout + run.stderr
    assert {path.name for path in tmp_path.iterdir()} == {'data', 'work_dirs'}


def test_version_is_written_once_and_read_without_import():
    """A literal, which setuptools reads from the source; else it would import the package."""
    assert SETUP['metadata']['version'] == 'attr: convnext_dense.__version__'
    tree = ast.parse((ROOT / 'convnext_dense' / '__init__.py').read_text(encoding='utf-8'))
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == '__version__'
    ]
    assert len(values) == 1 and re.fullmatch(r'\d+\.\d+\.\d+', ast.literal_eval(values[0]))


def test_readme_names_what_exists():
    readme = (ROOT / 'README.md').read_text(encoding='utf-8')
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    paths = set(re.findall(r'(?<![\w/.])(?:configs|docs|requirements|tools)/[\w./-]*\w', readme))
    targets = set(
        re.findall(
            r'\bmake ([a-z][a-z-]+)', '\n'.join(re.findall(r'```.*?```|`[^`]+`', readme, re.S))
        )
    )
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
    assert [
        target for target in sorted(targets) if not re.search(rf'^{target}:', makefile, re.M)
    ] == []
    assert {'train', 'test'} <= targets


def test_ci_runs_the_readmes_command():
    script = ROOT / '.ci' / 'run'
    assert os.access(script, os.X_OK) and 'make test' in script.read_text(encoding='utf-8')


def test_no_source_names_a_machine_or_a_registry():
    machine = re.compile(
        r'(?<![\w.$}/-])/(?:work|tmp|root|home|opt)/\w|'
        r'(?:pypi|pythonhosted|anaconda)\.org|pytorch\.org/whl'
    )
    found = [
        f'{path.relative_to(ROOT)}: {line.strip()}'
        for path in _sources()
        for line in path.read_text(encoding='utf-8').splitlines()
        if machine.search(line)
    ]
    assert found == []


def test_session_has_no_network():
    with pytest.raises(RuntimeError, match='no network'):
        socket.create_connection(('example.org', 80), timeout=1)
    with (
        socket.create_server(('127.0.0.1', 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        assert client.getpeername() == server.getsockname()


def test_stack_under_test_is_one_that_the_extras_allow(stack):
    mmengine = 'onedl-mmengine' if stack == 'onedl' else 'mmengine'
    assert _extra(stack)[mmengine].specifier.contains(import_module('mmengine').__version__)
