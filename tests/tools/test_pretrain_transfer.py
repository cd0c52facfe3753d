"""Transfer: the dense backbone starts from the classifier's weights, all else is the same; finished parts stay."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import CheckpointLoader
from rich.console import Console

from convnext_dense import apis
from convnext_dense.apis import transfer
from convnext_dense.data import RECORDS

pytestmark = pytest.mark.filterwarnings(
    'ignore:Detected call of `scheduler.step\\(\\)` before:UserWarning'
)
ROOT = Path(__file__).resolve().parents[2]
LOADERS = """
train_dataloader = dict(batch_size={batch}, num_workers=0, persistent_workers=False, dataset=dict(data_root={data!r}))
val_dataloader = dict(batch_size=1, num_workers=0, persistent_workers=False, dataset=dict(data_root={data!r}))
test_dataloader = val_dataloader
"""
CLASSIFIER = """
_base_ = [{base!r}]
model = dict(arch=dict(_delete_=True, depths=(1, 1, 2, 1), dims=(8, 16, 24, 32)))
train_cfg = dict(max_epochs=2, val_interval=2)
"""
SEGMENTOR = """
_base_ = [{base!r}]
model = dict(
    backbone=dict(arch=dict(_delete_=True, depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))),
    decode_head=dict(in_channels=[8, 16, 24, 32], channels=8))
custom_hooks = []
"""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Narrow configs of both kinds, and a few pictures."""
    folder = tmp_path_factory.mktemp('transfer')
    RECORDS['ade20k'].sample.write(folder / 'ade', num_train=2, num_val=1)
    RECORDS['imagenet'].sample.write(folder / 'imagenet', num_train=10, num_val=10)
    for name, text, base, data, batch in (
        ('classifier', CLASSIFIER, 'convnext_atto_sample', 'imagenet', 5),
        ('segmentor', SEGMENTOR, 'upernet_convnext_atto_sample', 'ade', 2),
    ):
        text += LOADERS.format(data=str(folder / data), batch=batch)
        (folder / f'{name}.py').write_text(text.format(base=str(ROOT / 'configs' / f'{base}.py')))
    return folder


@pytest.fixture(scope='module')
def classifier(folder):
    """The record of a classifier trained for four steps."""
    apis.allow_training_checkpoints()
    return transfer.train_part(
        apis.load_config(str(folder / 'classifier.py')), folder / 'run' / 'pretrain'
    )


def make_config(folder, checkpoint=None, ema=True, iters=2):
    return transfer.make_dense_config(str(folder / 'segmentor.py'), 0, iters, checkpoint, ema)


def flatten(node, path=''):
    items = (
        node.items()
        if isinstance(node, dict)
        else enumerate(node)
        if isinstance(node, (list, tuple))
        else ()
    )
    leaves = {
        key: value
        for name, child in items
        for key, value in flatten(child, f'{path}.{name}').items()
    }
    return leaves or {path: node}


@pytest.mark.parametrize('ema', [True, False])
def test_backbone_has_the_classifiers_weights(folder, classifier, ema):
    cfg = make_config(folder, classifier['checkpoint'], ema)
    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    model.init_weights()
    file = CheckpointLoader.load_checkpoint(classifier['checkpoint'])
    averaged = file['state_dict']  # mmengine's hook swaps the two when it saves
    plain = {
        key.removeprefix('module.'): value
        for key, value in file['ema_state_dict'].items()
        if key != 'steps'
    }
    given, other = (averaged, plain) if ema else (plain, averaged)
    own = {
        name: value
        for name, value in model.backbone.state_dict().items()
        if not name.startswith('norm')
    }
    assert len(own) == 4 * 4 + 5 * 9  # four stems, five blocks: every weight of the trunk
    assert set(given) - set(own) == {'norm.weight', 'norm.bias', 'head.weight', 'head.bias'}
    assert [name for name in own if not torch.equal(own[name], given[name])] == []
    assert any(not torch.equal(own[name], other[name]) for name in own)


def test_a_classifier_of_another_width_is_refused(folder, classifier):
    cfg = make_config(folder, classifier['checkpoint'])
    cfg.model.backbone.arch = dict(depths=(1, 1, 2, 1), dims=(16, 16, 24, 32))
    cfg.model.decode_head.in_channels = [16, 16, 24, 32]
    init_default_scope('mmseg')
    with pytest.raises(apis.CheckpointError, match='does not fit the model'):
        MODELS.build(cfg.model).init_weights()


def test_arms_differ_in_the_first_weights_alone(folder, classifier):
    random, transferred = (
        make_config(folder, checkpoint).to_dict() for checkpoint in (None, classifier['checkpoint'])
    )
    first = transferred['model']['backbone'].pop('init_cfg')
    assert first == dict(type='Pretrained', checkpoint=classifier['checkpoint'], ema=True)
    assert random['model']['backbone'].pop('init_cfg') is None and random == transferred


def test_the_short_config_differs_from_that_of_make_train_in_what_it_says():
    long, short = (
        flatten(
            apis.load_config(str(ROOT / 'configs' / f'upernet_convnext_atto_{name}.py')).to_dict()
        )
        for name in ('sample', 'short_sample')
    )
    changed = {name for name in short if short[name] != long.get(name)}
    assert not [
        name
        for name in changed
        if not any(
            part in name
            for part in (
                'work_dir',
                'crop_size',
                'data_preprocessor.size',
                'max_iters',
                'interval',
                'param_scheduler.1.end',
                'decay_rate',
            )
        )
    ], changed


def test_length_changes_nothing_but_the_end(folder):
    whole, short = (flatten(make_config(folder, iters=iters).to_dict()) for iters in (None, 30))
    assert {
        name: (whole[name], value) for name, value in short.items() if value != whole[name]
    } == {
        '.train_cfg.max_iters': (1400, 30),
        '.train_cfg.val_interval': (700, 30),
        '.param_scheduler.1.end': (1401, 31),
        '.default_hooks.checkpoint.interval': (700, 30),
    }
    with pytest.raises(apis.ConfigError, match='iters must be at least 1'):
        make_config(folder, iters=0)


def test_parts_are_run_once(folder, classifier, tmp_path, capsys):
    """The log says what was used and dropped; the same run is not run again, one with other settings is."""
    config, checkpoint = str(folder / 'segmentor.py'), classifier['checkpoint']
    runs = transfer.compare_transfer(config, checkpoint, [0], 2, True, tmp_path / 'run')
    (log,) = (tmp_path / 'run' / 'transferred_seed0').glob('*/*.log')
    for words in (
        'layout facebook, under state_dict',
        'not used     head.weight, head.bias',
        'loaded',
    ):
        assert words in log.read_text()
    assert not any(
        'layout facebook' in path.read_text()
        for path in (tmp_path / 'run').glob('random_seed0/*/*.log')
    )
    capsys.readouterr()
    assert transfer.compare_transfer(config, checkpoint, [0], 2, True, tmp_path / 'run') == runs
    assert capsys.readouterr().out.count('Already there') == 2
    record = runs[0]['transferred']
    assert record['cpu_seconds'] > 0 and record['metrics'].keys() >= {'aAcc', 'mIoU'}
    assert record == json.loads(
        (tmp_path / 'run' / 'transferred_seed0' / 'scores.json').read_text()
    )
    plain = transfer.compare_transfer(config, checkpoint, [0], 2, False, tmp_path / 'run')
    assert (
        plain[0]['random'] == runs[0]['random']
        and plain[0]['transferred']['settings'] != record['settings']
    )


def make_record(score, cpu):
    return dict(metrics=dict(mIoU=score), cpu_seconds=cpu)


def test_summary_is_the_means_and_their_difference(capsys):
    runs = {
        0: dict(random=make_record(40.0, 10.0), transferred=make_record(50.0, 12.0)),
        2: dict(random=make_record(44.0, 20.0), transferred=make_record(43.0, 14.0)),
    }
    summary = transfer.summarize_transfer(runs)
    assert summary == dict(
        metric='mIoU',
        seeds={'0': dict(random=40.0, transferred=50.0), '2': dict(random=44.0, transferred=43.0)},
        mean=dict(random=42.0, transferred=46.5),
        difference=4.5,
        cpu_seconds=dict(random=15.0, transferred=13.0),
    )
    transfer.print_transfer(summary, Console(width=100))
    cells = [
        [cell.strip() for cell in line.split('│')[1:-1]]
        for line in capsys.readouterr().out.splitlines()
    ]
    assert ['0', '40.00', '50.00', '+10.00'] in cells and [
        'mean',
        '42.00',
        '46.50',
        '+4.50',
    ] in cells


@pytest.mark.slow
def test_the_tool_tells_the_whole_story(folder):
    command = [
        sys.executable,
        ROOT / 'tools' / 'pretrain_transfer.py',
        '--pretrain-config',
        'classifier.py',
        '--config',
        'segmentor.py',
        '--iters',
        '2',
        '--seeds',
        '0',
        '1',
        '--work-dir',
        'story',
    ]

    def run(*args, code=0):
        result = subprocess.run(
            [*command, *args], cwd=folder, timeout=300, capture_output=True, text=True
        )
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr

    out = run()
    assert (
        'transferred' in out
        and 'mean' in out
        and 'pretraining, once' in out
        and 'not used     head.weight' in out
    )
    story = json.loads((folder / 'story' / 'transfer.json').read_text())
    assert (
        set(story['seeds']) == {'0', '1'}
        and story['weights'] == 'EMA'
        and story['pretraining']['cpu_seconds'] > 0
    )
    assert run().count('Already there') == 5
    assert 'absent.pth does not exist' in run('--checkpoint', 'absent.pth', code=1)
