"""A strict session: fixed seeds, one thread, no network.

``stack`` is the mm* family under test.
"""

import copy
import os
import random
import socket
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Before torch is imported, and inherited by the tools that tests start as their own processes.
os.environ.setdefault('OMP_NUM_THREADS', '1')
os.environ['HF_HUB_OFFLINE'] = '1'
os.environ['PYTHONPATH'] = os.pathsep.join(filter(None, [os.environ.get('PYTHONPATH'), str(ROOT)]))

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)
_LOCAL_HOSTS = ('localhost', '127.0.0.1', '::1', '0.0.0.0', '', None)
_connect, _getaddrinfo = socket.socket.connect, socket.getaddrinfo


def _check_host(host):
    if isinstance(host, bytes):
        host = host.decode()
    if host not in (*_LOCAL_HOSTS, socket.gethostname()):
        raise RuntimeError(
            f'tests use no network, but {host!r} was asked for: use a file or a fake instead'
        )


def _connect_locally(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        _check_host(address[0])
    return _connect(self, address)


def _getaddrinfo_locally(host, *args, **kwargs):
    _check_host(host)
    return _getaddrinfo(host, *args, **kwargs)


@pytest.fixture(autouse=True, scope='session')
def no_network():
    """Connections and look-ups of anything but this machine raise."""
    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, 'connect', _connect_locally)
    patch.setattr(socket, 'getaddrinfo', _getaddrinfo_locally)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def fixed_seeds():
    """The same random numbers for a test whether it runs alone or with others."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_default_scope():
    """Forget the default scope (mmdet, mmseg) after each test; mmdet warns of another one."""
    yield
    if 'mmengine.registry' in sys.modules:
        sys.modules['mmengine.registry'].DefaultScope._instance_dict.clear()


@pytest.fixture(scope='session')
def _parsed_configs():
    """Shipped configs that a test of this session has read already, by name."""
    return {}


@pytest.fixture
def read_config(_parsed_configs):
    """``read_config('upernet_convnext_t_ade20k')`` returns a copy of the config, in its scope."""
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    def read(name):
        if name not in _parsed_configs:
            _parsed_configs[name] = Config.fromfile(ROOT / 'configs' / f'{name}.py')
        cfg = copy.deepcopy(_parsed_configs[name])
        init_default_scope(cfg.default_scope)
        return cfg

    return read


@pytest.fixture(scope='session')
def stack() -> str:
    """'onedl' or 'openmmlab': whose mmengine is imported.

    Both are called ``mmengine``; only the installed files tell them apart.
    """
    import mmengine

    installed_in = Path(mmengine.__file__).parents[1]
    return (
        'onedl'
        if list(installed_in.glob(f'onedl_mmengine-{mmengine.__version__}*.dist-info'))
        else 'openmmlab'
    )
