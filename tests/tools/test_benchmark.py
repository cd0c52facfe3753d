"""``convnext-dense benchmark`` as a user calls it, at toy size, and what it refuses."""

import json

import pytest

from convnext_dense.benchmark import networks
from convnext_dense.cli.benchmark import choose_networks
from convnext_dense.errors import ConfigError

TOY = ['--arch', 'atto', '--shape', '1x3x64x64', '--rounds', 1, '--threads', 1]
TOY += ['--device', 'cpu', '--out', 'out']


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    'options, message',
    [
        ('--networks timmm', "no network 'timmm'; choose from all, peers, 'timm',"),
        ('--arch huge', "unknown arch 'huge'"),
        ('--rounds 0', '--rounds must be 1 or more; got 0'),
        ('--threads 0', '--threads must be 1 or more; got 0'),
        ('--drop-path 1', r'--drop-path is a probability in [0, 1); got 1'),
        ('--values 64', '--values belong to an axis: add --scaling with one of size, batch'),
        ('--scaling size --values 64 31', "values of 'size' are 32 or more; got 31"),
        ('--scaling batch --values 1.5', "values of 'batch' are whole numbers; got 1.5"),
        ('--scaling depth --values inf', "values of 'depth' are 0.05 or more; got inf"),
    ],
)
def test_wrong_options_are_refused(options, message, command, tmp_path):
    assert command('benchmark', *options.split(), code=1).startswith(f'error: {message}')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('shape', ['512', '3x512x512', '0x3x64x64', '1x4x64x64', '1x3x64x31'])
def test_wrong_shapes_are_refused(shape, command):
    message = command('benchmark', '--shape', shape, code=2)
    assert 'such as 1x3x512x512, with sides of 32 or more' in message
    assert f"got '{shape}'" in message


def test_folder_that_cannot_be_made_is_refused(command, tmp_path):
    (tmp_path / 'file').touch()
    message = command('benchmark', '--out', 'file', code=1)
    assert message.startswith('error: --out must be a folder, or a place for one; file: File exist')


def test_networks_without_a_backward_pass_are_not_trained():
    with pytest.raises(ConfigError, match="'ours inference' has no backward pass: --mode forward"):
        choose_networks(['ours inference'], ['train'])
    assert choose_networks(['ours inference'], ['forward']) == ['ours inference']


def test_missing_library(monkeypatch):
    missing = networks.NETWORKS['timm']._replace(package='no_such_package')
    monkeypatch.setitem(networks.NETWORKS, 'timm', missing)
    assert 'timm' not in choose_networks(['peers'], [])
    with pytest.raises(ConfigError, match='no_such_package is not installed'):
        choose_networks(['timm'], [])


def test_comparison_is_printed_and_written(command, tmp_path):
    options = [*TOY, '--mode', 'train', '--networks', 'timm', '--dtype', 'bf16']
    printed = command('benchmark', *options)
    for words in ('train, atto, 1x3x64x64, bf16', 'x library default', '| timm, channels_last'):
        assert words in printed
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == ['train.json', 'train.md', 'train.png']
    (result,) = json.loads((tmp_path / 'out' / 'train.json').read_text())['results']
    assert result['error'] is None
    assert len(result['seconds']) == 2
    assert result['saved_bytes'] > 0


@pytest.mark.slow
def test_scaling(command, tmp_path):
    options = ['--scaling', 'size', '--values', 64, 128, '--networks', 'ours', 'timm']
    printed = command('benchmark', *TOY, *options, '--mode', 'forward')
    assert '- timm, channels_last: slope of time' in printed
    names = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert names == [f'forward_by_size.{suffix}' for suffix in ('json', 'md', 'png')]


@pytest.mark.slow
@pytest.mark.skipif(
    networks.find_reason_missing('mmpretrain') is not None,
    reason='mmpretrain is not set up: make test does',
)
def test_every_network_runs_and_compiles(command, tmp_path):
    options = ['--compile', 'default', '--memory-format', 'channels_first', '--mode', 'forward']
    command('benchmark', *TOY, *options)
    results = json.loads((tmp_path / 'out' / 'forward.json').read_text())['results']
    assert {one['label']: one['error'] for one in results if one['error']} == {}
    assert len(results) == 2 * len(networks.NETWORKS) - 1  # 'ours inference' is not compiled
