"""What both families share: a shipped config with ConvNeXt in it, a training step, a prediction, a row in the docs."""

import importlib
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope

from convnext_dense.apis.config import ConfigError
from convnext_dense.apis.config_text import iter_changes
from convnext_dense.plug.plug import plug

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
    return Config.fromfile(
        Path(importlib.import_module(package).__file__).parent / '.mim' / 'configs' / path
    )


@pytest.fixture
def plug_shipped(tmp_path):
    """(package, path under its configs) -> (old config, new config, names changed outside the backbone)."""

    def plug_shipped(package, path, check=False):
        old = _load_shipped(package, path)
        plug(old.filename, 'atto', str(tmp_path / 'new.py'), checkpoint=None, check=check)
        new = Config.fromfile(tmp_path / 'new.py')
        names = {
            line[2:].split(' = ')[0]
            for line in iter_changes(old.model.to_dict(), new.model.to_dict())
        }
        return old, new, sorted(name for name in names if not name.startswith('backbone.'))

    return plug_shipped


@pytest.fixture
def run_shipped(plug_shipped, table):
    """Plug, hold that nothing else changed, train a step, predict; compare with the docs. Returns the prediction."""

    def run_shipped(package, method, path, shrink, batch):
        _, cfg, changed = plug_shipped(package, path)
        backbone, changed = cfg.model.backbone, [name for name in changed if name != 'pretrained']
        skips_maps = len(backbone.out_indices) < 4
        allowed = [
            name
            for name in changed
            if CHANNELS.fullmatch(name) or skips_maps and LEVELS.fullmatch(name)
        ]
        assert changed == allowed and changed
        cfg.merge_from_dict(shrink)
        prediction, model, idle = _train_and_predict(cfg, batch)
        assert not idle
        table(
            package,
            method,
            path,
            ', '.join(changed),
            ', '.join(map(str, model.backbone.out_strides)),
            'yes',
        )
        return prediction

    return run_shipped


@pytest.fixture
def swap_by_hand():
    """Change ``backbone`` and what is given, train a step, predict; the backbone's parameters without a gradient."""

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
    """The reason why a config cannot be plugged into; the same as in the docs."""

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
    """Holds a row against the docs', or writes it there."""

    def table(package, method, path, *cells):
        row, text = (
            f'| {method} | `{path}` | {" | ".join(cells)} |',
            DOCS.read_text(encoding='utf-8'),
        )
        if not request.config.getoption('--write-plugging-table', default=False):
            assert row in text.splitlines(), (
                'docs/plugging.md is not what was found. Write it anew: '
                f'pytest tests/plugging -m "" --write-plugging-table\n{row}'
            )
            return
        start, end = (text.index(f'<!-- {mark}{package} -->') for mark in ('', 'end of '))
        lines = [
            line for line in text[start:end].splitlines() if not line.startswith(f'| {method} |')
        ]
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
