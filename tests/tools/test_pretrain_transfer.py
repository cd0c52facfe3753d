"""Transfer from a classifier to a dense model: what differs, what is loaded, what is reused."""

import json
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
    r'ignore:Detected call of `scheduler.step\(\)` before:UserWarning'
)
ROOT = Path(__file__).resolve().parents[2]
LOADERS = """
data = dict(data_root={data!r})
loader = dict(num_workers=0, persistent_workers=False, dataset=data)
train_dataloader = dict(batch_size={batch}, **loader)
val_dataloader = dict(batch_size=1, **loader)
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
    """Narrow configs of a classifier and a segmentor, and a few pictures for each."""
    folder = tmp_path_factory.mktemp('transfer')
    RECORDS['ade20k'].sample.write(folder / 'ade', num_train=2, num_val=1)
    RECORDS['imagenet'].sample.write(folder / 'imagenet', num_train=10, num_val=10)
    for name, text, base, data, batch in (
        ('classifier', CLASSIFIER, 'convnext_atto_sample', 'imagenet', 5),
        ('segmentor', SEGMENTOR, 'upernet_convnext_atto_sample', 'ade', 2),
    ):
        path = str(ROOT / 'configs' / f'{base}.py')
        loaders = LOADERS.format(data=str(folder / data), batch=batch)
        (folder / f'{name}.py').write_text(text.format(base=path) + loaders)
    return folder


@pytest.fixture(scope='module')
def classifier(folder):
    """The record of a classifier trained for four steps."""
    apis.allow_training_checkpoints()
    cfg = apis.load_config(str(folder / 'classifier.py'))
    return transfer.train_part(cfg, folder / 'run' / 'pretrain')


def make_config(folder, checkpoint=None, ema=True, iters=2):
    return transfer.make_dense_config(str(folder / 'segmentor.py'), 0, iters, checkpoint, ema)


def flatten(node, path=''):
    """The leaves of a config by dotted path; empty containers are leaves."""
    if isinstance(node, dict) and node:
        children = node.items()
    elif isinstance(node, (list, tuple)) and node:
        children = enumerate(node)
    else:
        return {path: node}
    leaves = {}
    for name, child in children:
        leaves |= flatten(child, f'{path}.{name}')
    return leaves


@pytest.mark.parametrize('ema', [True, False])
def test_backbone_has_the_classifiers_weights(folder, classifier, ema):
    cfg = make_config(folder, classifier['checkpoint'], ema)
    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    model.init_weights()

    file = CheckpointLoader.load_checkpoint(classifier['checkpoint'])
    averaged = file['state_dict']  # mmengine's hook swaps the two when it saves
    plain = {key.removeprefix('module.'): value for key, value in file['ema_state_dict'].items()}
    plain.pop('steps')
    given, other = (averaged, plain) if ema else (plain, averaged)
    trunk = model.backbone.state_dict()
    trunk = {name: value for name, value in trunk.items() if not name.startswith('norm')}
    assert len(trunk) == 4 * 4 + 5 * 9  # four stems, five blocks
    assert set(given) - set(trunk) == {'norm.weight', 'norm.bias', 'head.weight', 'head.bias'}
    assert [name for name in trunk if not torch.equal(trunk[name], given[name])] == []
    assert any(not torch.equal(trunk[name], other[name]) for name in trunk)


def test_a_classifier_of_another_width_is_refused(folder, classifier):
    cfg = make_config(folder, classifier['checkpoint'])
    cfg.model.backbone.arch = dict(depths=(1, 1, 2, 1), dims=(16, 16, 24, 32))
    cfg.model.decode_head.in_channels = [16, 16, 24, 32]
    init_default_scope('mmseg')
    with pytest.raises(apis.CheckpointError, match='does not fit the model'):
        MODELS.build(cfg.model).init_weights()


def test_arms_differ_only_in_the_initial_weights(folder, classifier):
    random = make_config(folder).to_dict()
    transferred = make_config(folder, classifier['checkpoint']).to_dict()
    initial = transferred['model']['backbone'].pop('init_cfg')
    assert initial == dict(type='Pretrained', checkpoint=classifier['checkpoint'], ema=True)
    assert random['model']['backbone'].pop('init_cfg') is None
    assert random == transferred


def test_the_short_config_differs_only_in_sizes_length_and_decay():
    long = flatten(apis.load_config('upernet_convnext_atto_sample').to_dict())
    short = flatten(apis.load_config('upernet_convnext_atto_short_sample').to_dict())
    sizes = ('crop_size', 'data_preprocessor.size')
    length = ('max_iters', 'interval', 'param_scheduler.1.end')
    allowed = (*sizes, *length, 'decay_rate', 'work_dir')
    changed = [name for name in short if short[name] != long.get(name)]
    assert [name for name in changed if not any(part in name for part in allowed)] == []


def test_length_changes_only_the_end(folder):
    whole = flatten(make_config(folder, iters=None).to_dict())
    short = flatten(make_config(folder, iters=30).to_dict())
    changed = {name: (whole[name], short[name]) for name in short if short[name] != whole[name]}
    assert changed == {
        '.train_cfg.max_iters': (1400, 30),
        '.train_cfg.val_interval': (700, 30),
        '.param_scheduler.1.end': (1401, 31),
        '.default_hooks.checkpoint.interval': (700, 30),
    }
    with pytest.raises(apis.ConfigError, match='iters must be at least 1'):
        make_config(folder, iters=0)


def test_finished_parts_are_not_run_again(folder, classifier, tmp_path, capsys):
    config = str(folder / 'segmentor.py')
    args = (config, classifier['checkpoint'], [0], 2)
    runs = transfer.compare_transfer(*args, True, tmp_path)
    (log,) = tmp_path.glob('transferred_seed0/*/*.log')
    for words in ('layout facebook', 'loaded', 'not used     head.weight, head.bias'):
        assert words in log.read_text()
    (random_log,) = tmp_path.glob('random_seed0/*/*.log')
    assert 'layout facebook' not in random_log.read_text()

    capsys.readouterr()
    assert transfer.compare_transfer(*args, True, tmp_path) == runs
    assert capsys.readouterr().out.count('Already there') == 2
    record = runs[0]['transferred']
    assert record['cpu_seconds'] > 0 and record['metrics'].keys() >= {'aAcc', 'mIoU'}
    assert record == json.loads((tmp_path / 'transferred_seed0' / 'scores.json').read_text())

    # Other settings: only the part that they concern is run.
    plain = transfer.compare_transfer(*args, False, tmp_path)
    assert plain[0]['random'] == runs[0]['random']
    assert plain[0]['transferred']['settings'] != record['settings']


def make_record(score, cpu):
    return dict(metrics=dict(mIoU=score), cpu_seconds=cpu)


def test_summary_has_the_means_and_their_difference(capsys):
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
    rows = []
    for line in capsys.readouterr().out.splitlines():
        rows.append([cell.strip() for cell in line.split('│')[1:-1]])
    assert ['0', '40.00', '50.00', '+10.00'] in rows
    assert ['mean', '42.00', '46.50', '+4.50'] in rows


@pytest.mark.slow
def test_the_tool_runs_every_part_once(folder, run_tool):
    configs = ['--pretrain-config', 'classifier.py', '--config', 'segmentor.py']
    args = [*configs, '--iters', 2, '--seeds', 0, 1, '--work-dir', 'story']
    out = run_tool('pretrain_transfer', *args, cwd=folder)
    for words in ('transferred', 'mean', 'pretraining, once', 'not used     head.weight'):
        assert words in out
    story = json.loads((folder / 'story' / 'transfer.json').read_text())
    assert set(story['seeds']) == {'0', '1'} and story['weights'] == 'EMA'
    assert story['pretraining']['cpu_seconds'] > 0

    out = run_tool('pretrain_transfer', *args, cwd=folder)
    assert out.count('Already there') == 5
    out = run_tool('pretrain_transfer', *args, '--checkpoint', 'absent.pth', cwd=folder, code=1)
    assert 'absent.pth does not exist' in out
