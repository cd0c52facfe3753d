"""Plug into a config that mmdet or mmseg ships, train a step, predict, compare with the docs."""

import importlib
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope

from convnext_dense.errors import ConfigError
from convnext_dense.plug import plug

DOCS = Path(__file__).resolve().parents[2] / 'docs' / 'plugging.md'
CHANNELS = re.compile(r'(neck|\w+_head)(\.\w+)*\.(c1_)?in_channels')
LEVELS = re.compile(r'(neck|\w+_head)(\.\w+)*\.(in_index|start_level)')


def pytest_addoption(parser):
    parser.addoption(
        '--write-plugging-table',
        action='store_true',
        help='write what is found into docs/plugging.md',
    )


def _load_shipped(package, path):
    folder = Path(importlib.import_module(package).__file__).parent
    return Config.fromfile(folder / '.mim' / 'configs' / path)


def _flatten(node, name=''):
    """Settings by their dotted names; numbers count the mappings in a list."""
    if isinstance(node, dict):
        children = node.items()
    elif isinstance(node, (list, tuple)) and any(isinstance(child, dict) for child in node):
        children = enumerate(node)
    else:
        return {name: node}
    flat = {}
    for key, child in children:
        flat |= _flatten(child, f'{name}.{key}' if name else str(key))
    return flat


@pytest.fixture
def plug_shipped(tmp_path):
    """(package, path under its configs) -> (new config, names changed outside the backbone)."""

    def plug_shipped(package, path, check=False):
        source = _load_shipped(package, path).filename
        done = plug(source, 'atto', str(tmp_path / 'new.py'), checkpoint=None, check=check)
        old, new = _flatten(done.old.model.to_dict()), _flatten(done.new.model.to_dict())
        names = [name for name in old | new if old.get(name, ...) != new.get(name, ...)]
        return done.new, sorted(name for name in names if not name.startswith('backbone.'))

    return plug_shipped


@pytest.fixture
def run_shipped(plug_shipped, table):
    """Plug, check that nothing else changed, train a step; returns the prediction."""

    def run_shipped(package, method, path, shrink, batch):
        cfg, changed = plug_shipped(package, path)
        changed = [name for name in changed if name != 'pretrained']
        skips_maps = len(cfg.model.backbone.out_indices) < 4
        assert changed
        for name in changed:
            assert CHANNELS.fullmatch(name) or (skips_maps and LEVELS.fullmatch(name)), name
        cfg.merge_from_dict(shrink)
        prediction, model, idle = _train_and_predict(cfg, batch)
        assert not idle
        strides = ', '.join(str(stride) for stride in model.backbone.out_strides)
        table(package, method, path, ', '.join(changed), strides, 'yes')
        return prediction

    return run_shipped


@pytest.fixture
def swap_by_hand():
    """Replace ``backbone``, train a step, predict; returns the parameters without a gradient."""

    def swap_by_hand(package, path, changes, batch):
        cfg = _load_shipped(package, path)
        cfg.model.backbone = dict(type='convnext_dense.ConvNeXt', arch='atto')
        cfg.merge_from_dict(changes)
        prediction, _, idle = _train_and_predict(cfg, batch)
        assert len(prediction) == 2
        return idle

    return swap_by_hand


@pytest.fixture
def refuse_shipped(plug_shipped, table):
    """Check that a config is refused, with the reason in the docs."""

    def refuse_shipped(package, method, path):
        with pytest.raises(ConfigError) as error:
            plug_shipped(package, path, check=True)
        reason = str(error.value).split('\n')[0].split('. Nothing was written')[0]
        table(package, method, path, '', '', f'no: {reason.rstrip(".")}')

    return refuse_shipped


def _train_and_predict(cfg, batch):
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = revert_sync_batchnorm(MODELS.build(cfg.model))  # its training needs a GPU
        optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
        model.train()
        losses = model(**model.data_preprocessor(batch(), training=True), mode='loss')
        loss, _ = model.parse_losses(losses)
        optim_wrapper.backward(loss)
        assert loss.isfinite() and loss > 0
        assert all(
            p.grad.isfinite().all() for p in model.backbone.parameters() if p.grad is not None
        )
        idle = [
            name for name, parameter in model.backbone.named_parameters() if parameter.grad is None
        ]
        before = model.backbone.downsample_layers[0][0].weight.detach().clone()
        optim_wrapper.step()
        assert not before.equal(model.backbone.downsample_layers[0][0].weight)
        model.eval()
        with torch.no_grad():
            return model(**model.data_preprocessor(batch()), mode='predict'), model, idle


@pytest.fixture
def table(request):
    """Compares a row with the docs, or writes it there."""

    def table(package, method, path, *cells):
        row = f'| {method} | `{path}` | {" | ".join(cells)} |'
        text = DOCS.read_text(encoding='utf-8')
        if not request.config.getoption('--write-plugging-table', default=False):
            assert row in text.splitlines(), (
                'docs/plugging.md differs from what was found. To write it again: '
                f'pytest tests/plug -m "" --write-plugging-table\n{row}'
            )
            return
        start = text.index(f'<!-- {package} -->')
        end = text.index(f'<!-- end of {package} -->')
        lines = text[start:end].splitlines()
        lines = [line for line in lines if not line.startswith(f'| {method} |')]
        DOCS.write_text(text[:start] + '\n'.join([*lines, row, text[end:]]), encoding='utf-8')

    return table


@pytest.fixture
def listed():
    """The methods in the docs' table of a package."""

    def listed(package):
        text = DOCS.read_text(encoding='utf-8')
        section = text[text.index(f'<!-- {package} -->') : text.index(f'<!-- end of {package} -->')]
        return [line.split(' | ')[0].removeprefix('| ') for line in section.splitlines()[3:]]

    return listed
