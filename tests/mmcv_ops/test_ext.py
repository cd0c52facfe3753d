"""The stand-in as a module: its names, their arguments, and what raises."""

import ast
import inspect
import pickle
import re
from pathlib import Path

import mmcv._ext as ext
import mmcv.ops
import pytest
import torch
from mmengine.utils.dl_utils.misc import mmcv_full_available
from torch.utils.data import DataLoader

OPS = Path(mmcv.ops.__file__).parent


def names_that_mmcv_asks_for():
    calls = (
        node
        for path in sorted(OPS.glob('*.py'))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, 'attr', '') == 'load_ext'
    )
    return {name for call in calls for name in ast.literal_eval(call.args[1])}


def arguments_in_cpp():
    """From each m.def(...) of the binding that mmcv ships as source."""
    path = OPS / 'csrc' / 'pytorch' / 'pybind.cpp'
    if not path.exists():
        pytest.skip('this mmcv ships no C++ sources')
    bindings = re.findall(r'm\.def\(\s*"(\w+)"(.*?)\);', path.read_text(), re.DOTALL)
    return {name: re.findall(r'py::arg\("(\w+)"\)', rest) for name, rest in bindings}


def test_every_name_exists_and_ours_are_all_asked_for():
    asked = names_that_mmcv_asks_for()
    assert set(ext.__all__) < asked
    assert [name for name in asked if not callable(getattr(ext, name))] == []


def test_all_others_raise_when_called_and_name_themselves():
    others = names_that_mmcv_asks_for() - set(ext.__all__)
    for name in sorted(others):
        with pytest.raises(NotImplementedError, match=rf"'{name}'.*compiled mmcv.*MMCV_WITH_OPS=1"):
            getattr(ext, name)(torch.zeros(1), size=1)


def test_missing_op_through_the_public_function():
    with pytest.raises(NotImplementedError, match='box_iou_rotated'):
        mmcv.ops.box_iou_rotated(torch.rand(2, 5), torch.rand(2, 5))


def test_private_names_are_missing():
    assert not hasattr(ext, '__path__') and not hasattr(ext, '_anything')


@pytest.mark.parametrize(
    'name', sorted(set(ext.__all__) - {'get_compiler_version', 'get_compiling_cuda_version'})
)
def test_arguments_are_those_of_cpp(name):
    assert list(inspect.signature(getattr(ext, name)).parameters) == arguments_in_cpp()[name]


def test_mmcv_and_mmengine_see_the_ops_and_that_they_are_not_compiled():
    assert mmcv_full_available()
    assert 'not compiled' in mmcv.ops.get_compiler_version()
    assert mmcv.ops.get_compiling_cuda_version() == 'not available'


@pytest.mark.parametrize('name', ['nms', 'correlation_forward'])
def test_pickle(name):
    assert pickle.loads(pickle.dumps(getattr(ext, name))) is getattr(ext, name)


class Boxes(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, i):
        return mmcv.ops.nms(
            torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.0]]),
            torch.tensor([0.5, 0.9]),
            0.5,
        )[1]


# Python 3.12 and newer warn of any fork of a process with threads, which torch always has
@pytest.mark.filterwarnings('ignore:.*multi-threaded, use of fork:DeprecationWarning')
def test_in_a_worker_process():
    batches = DataLoader(Boxes(), num_workers=1, multiprocessing_context='fork')
    assert [batch.tolist() for batch in batches] == [[[1]]] * 2
