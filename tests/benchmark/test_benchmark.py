"""The measuring library: what it builds, counts, interleaves and writes."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from convnext_dense.apis import ConfigError
from convnext_dense.benchmark import compare, networks, outputs, plan, report, scaling, worker
from convnext_dense.benchmark.plan import Candidate, Setup
from convnext_dense.benchmark.compare import Result, WorkerError
from convnext_dense.benchmark.step import Step

ARCH = dict(depths=[1, 1, 2, 1], dims=[8, 16, 32, 64])
SMALL = Setup(ARCH, (1, 3, 64, 64), 'train', threads=1)


def results_of(seconds, **setup):
    return [
        Result(
            Candidate(*key) if isinstance(key, tuple) else Candidate(key),
            replace(SMALL, **setup),
            list(times),
        )
        for key, times in seconds.items()
    ]


@pytest.mark.parametrize(
    'name',
    [
        'timm',
        'timm conv_mlp',
        'torchvision',
        'transformers',
        'authors',
        'ours',
        'ours low',
        'ours plain',
    ],
)
def test_networks_are_one_network(name):
    """The maps' shapes, and our trunk's number of parameters; with the norms of the outputs in those that have them."""
    model, ours = networks.build(name, ARCH), networks.build('ours plain', ARCH)
    assert [tuple(y.shape) for y in model(torch.randn(1, 3, 64, 96))] == [
        (1, dim, 16 // 2**i, 24 // 2**i) for i, dim in enumerate(ARCH['dims'])
    ]
    norms = 2 * sum(ARCH['dims']) if name in ('timm', 'timm conv_mlp', 'torchvision') else 0
    assert count(model) == count(ours) - norms


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


def test_authors_network_gives_what_ours_gives():
    authors, ours = networks.build('authors', ARCH), networks.build('ours plain', ARCH)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.copy_(torch.randn_like(parameter))
    for i, stage in enumerate(authors.stages):
        entry, blocks = stage[:2], stage[2:]
        entry.load_state_dict(ours.downsample_layers[i].state_dict())
        authors.norms[i].load_state_dict(getattr(ours, f'norm{i}').state_dict())
        for block, own in zip(blocks, ours.stages[i], strict=True):
            names = {'norm.': 'mlp.0.', 'pwconv1.': 'mlp.1.', 'pwconv2.': 'mlp.3.'}
            weights = own.state_dict()
            for old, new in names.items():
                weights = {key.replace(old, new): value for key, value in weights.items()}
            block.load_state_dict(weights)
    x = torch.randn(2, 3, 64, 64)
    for got, expected in zip(authors(x), ours(x), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    'call, words',
    [
        (lambda: plan.parse_shape('3x512x512'), ['1x3x512x512', "'3x512x512'"]),
        (lambda: plan.parse_shape('1x4x64x64'), ['batch x 3 x height']),
        (lambda: plan.parse_shape('1x3x64x31'), ['sides of 32 or more']),
        (lambda: plan.choose(['tim']), ["'tim'", 'torchvision', 'ours low']),
        (lambda: plan.check('tinny'), ["'tinny'", "'tiny'"]),
        (lambda: plan.check('tiny', rounds=0), ['at least one round']),
        (lambda: plan.check('tiny', drop_path_rate=1.0), ['[0, 1)']),
    ],
)
def test_wrong_settings_are_refused(call, words):
    with pytest.raises(ConfigError) as error:
        call()
    assert all(word in str(error.value) for word in words)


def test_network_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(networks.NETWORKS, 'timm', (None, 'no_such_package'))
    assert 'timm' not in plan.choose(['peers']) and 'torchvision' in plan.choose(['peers'])
    with pytest.raises(ConfigError, match='no_such_package is not installed'):
        plan.choose(['timm'])


def test_candidates_are_every_form_of_every_network():
    forward = plan.list_candidates(['timm', 'ours inference'], compile_modes=['', 'default'])
    assert [c.label for c in forward] == [
        'timm, channels_first',
        'timm, channels_first, compiled',
        'timm, channels_last',
        'timm, channels_last, compiled',
        'ours inference, channels_first',
        'ours inference, channels_last',
    ]
    assert (
        len(plan.list_candidates(['timm', 'ours inference'], mode='train')) == 2
    )  # no backward: left out


class Sigmoid(nn.Module):
    """Saves its output, 4 bytes an element, and besides what does not count: its input and its parameter."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return [(self.weight * x).sigmoid()]


def test_saved_bytes_are_those_of_a_network_that_is_known(monkeypatch):
    monkeypatch.setitem(
        networks.NETWORKS, 'sigmoid', (lambda variant, drop_path_rate: Sigmoid(), 'torch')
    )
    step = Step(Candidate('sigmoid'), replace(SMALL, shape=(2, 3, 512, 512), timed=3))
    size = 4 * 2 * 3 * 512 * 512
    assert step.count_saved() == size
    assert len(step.time()) == 3 and min(step.time()) > 0
    peak = step.measure_peak()
    if sys.platform == 'linux' and peak is not None:
        assert size < peak < 8 * size
    assert Step(Candidate('sigmoid'), replace(SMALL, mode='forward')).count_saved() is None


def test_low_memory_saves_less():
    saved = {
        name: Step(Candidate(name), SMALL).count_saved()
        for name in ('ours', 'ours low', 'ours plain')
    }
    assert saved['ours low'] < saved['ours'] < saved['ours plain']


class FakeWorker:
    """Notes who was asked what; 'timm' dies in its second turn."""

    asked: list = []

    def __init__(self, candidate, setup):
        self.name, self.turns = candidate.name, 0

    def build(self):
        if self.name == 'torchvision':
            raise WorkerError('does not build')
        return dict(seconds=1.0, device=None, threads=1)

    def ask(self, question):
        self.asked.append((self.name, question))
        self.turns += question == 'time'
        if self.name == 'timm' and self.turns == 2:
            raise WorkerError('out of memory')
        return [float(self.turns)] if question == 'time' else 7

    def close(self):
        self.asked.append((self.name, 'close'))


@pytest.fixture
def fake_workers(monkeypatch):
    monkeypatch.setattr(FakeWorker, 'asked', [])
    monkeypatch.setattr(compare, 'Worker', FakeWorker)
    return FakeWorker


def test_rounds_are_interleaved_and_go_on_without_those_that_fail(fake_workers, monkeypatch):
    monkeypatch.setattr(compare, '_count_fitting', lambda *_: 4)
    names = ['timm', 'torchvision', 'ours', 'authors']
    results = compare.measure([Candidate(name) for name in names], SMALL, rounds=3)
    assert [r.error for r in results] == ['out of memory', 'does not build', None, None]
    assert [r.seconds for r in results] == [[1.0], [], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    assert [(r.saved_bytes, r.peak_bytes) for r in results] == [(None, None)] * 2 + [(7, 7)] * 2
    turns = [name for name, question in fake_workers.asked if question == 'time']
    assert set(turns[:3]) == set(turns[3:6]) == {'timm', 'ours', 'authors'} and set(turns[6:]) == {
        'ours',
        'authors',
    }
    assert sorted(name for name, question in fake_workers.asked if question == 'close') == sorted(
        names
    )


def test_rounds_end_when_the_time_is_over_but_not_before_the_first(fake_workers):
    assert compare.measure([Candidate('ours')], SMALL, rounds=9, seconds=0.0)[0].seconds == [1.0]


def test_groups_where_memory_is_small(fake_workers, monkeypatch):
    monkeypatch.setattr(compare, '_count_fitting', lambda *_: 2)
    said = []
    results = compare.measure(
        [Candidate(name) for name in ('ours', 'authors', 'ours low')], SMALL, 2, log=said.append
    )
    assert [r.seconds for r in results] == [
        [1.0, 2.0]
    ] * 3 and 'memory for 2 networks at once' in said[0]
    order = [name for name, question in fake_workers.asked]
    assert set(order[: order.index('ours low')]) == {'ours', 'authors'} and set(order[-5:]) == {
        'ours low'
    }


def test_as_many_wait_as_fit_into_memory(fake_workers, monkeypatch):
    free = int(
        next(
            line
            for line in Path('/proc/meminfo').read_text().splitlines()
            if 'MemAvailable' in line
        ).split()[1]
    )
    for part, expected in ((1, (2, 2)), (20, (8, 18)), (10**6, (20, 10**6))):
        monkeypatch.setattr(
            FakeWorker, 'ask', lambda self, question: (free * 1024 // part, free * 1024 // part)
        )
        least, most = expected
        assert least <= compare._count_fitting(Candidate('ours'), SMALL) <= most
    assert compare._count_fitting(Candidate('torchvision'), SMALL) == 2  # it does not build


def test_workers_measure_and_report_failures():
    """Real processes: one is measured, one cannot be built, one is killed."""
    v2 = replace(SMALL, arch=ARCH | dict(use_grn=True))
    good, bad = compare.measure([Candidate('timm'), Candidate('torchvision')], v2, rounds=2)
    assert (
        len(good.seconds) == 2 and good.error is None and good.saved_bytes > 0 and good.threads == 1
    )
    assert (
        bad.error == 'ValueError: torchvision has no ConvNeXt V2; leave it out, or choose a V1 arch'
    )
    killed = compare.Worker(Candidate('timm'), SMALL)
    killed._process.kill()
    try:
        with pytest.raises(WorkerError, match='killed by the system'):
            killed.build()
    finally:
        killed.close()


def test_worker_ends_when_nobody_asks():
    assert list(worker._serve(iter(()))) == []


@pytest.mark.parametrize(
    'name, malloc, expected',
    [('timm', 'keep', '0'), ('timm', 'default', None), ('timm', 'exact', None)],
)
def test_only_malloc_keep_changes_malloc(name, malloc, expected, monkeypatch):
    monkeypatch.delenv('MALLOC_MMAP_MAX_', raising=False)
    environment = compare._make_environment(Candidate(name), replace(SMALL, malloc=malloc))
    assert environment.get('MALLOC_MMAP_MAX_') == expected and environment['OMP_NUM_THREADS'] == '1'
    assert ('MALLOC_MMAP_THRESHOLD_' in environment) == (malloc == 'exact')
    assert str(networks.ASIDE) not in environment['PYTHONPATH'].split(':')


def test_rows_are_sorted_and_ratios_are_of_medians():
    results = results_of(
        {'ours': [0.1, 0.2, 0.3], 'timm': [0.5, 0.4, 0.3], 'authors': [0.25], 'torchvision': []}
    )
    results[0].saved_bytes, results[3].error = 3 * 2**19, 'out of memory'
    assert report.make_rows(results) == [
        ('ours, channels_last', '200.0', '100.0', '1.25', '2.00', '1.5', '-'),
        ('authors, channels_last', '250.0', '250.0', '1.00', '1.60', '-', '-'),
        ('timm, channels_last', '400.0', '300.0', '0.62', '1.00', '-', '-'),
        ('torchvision, channels_last', '-', '-', '-', '-', '-', '-'),
    ]
    assert '- not complete: torchvision, channels_last: out of memory' in report.format_markdown(
        results
    )


def test_files_hold_the_samples_and_the_system_and_no_path(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [str(tmp_path / 'tools' / 'benchmark.py'), '--arch', 'tiny'])
    results = results_of({'ours': [0.1, 0.2], 'timm': [0.4]})
    paths = outputs.write_comparison(results, tmp_path / 'new')
    assert [path.name for path in paths] == ['train.md', 'train.json', 'train.png']
    record = json.loads(paths[1].read_text())
    assert record['command'] == 'python tools/benchmark.py --arch tiny'
    assert [one['seconds'] for one in record['results']] == [[0.1, 0.2], [0.4]]
    assert record['system']['versions']['torch'].startswith(torch.__version__.split('+')[0])
    assert record['fastest_peer'] == 'timm, channels_last' and record['system']['cpu']
    assert paths[2].read_bytes().startswith(b'\x89PNG')


def test_curves_follow_the_axis_and_leave_out_who_failed(tmp_path, monkeypatch):
    def measure(candidates, setup, *_):
        side = setup.shape[2]
        done = [
            Result(candidate, setup, [side**4 / 1e9], peak_bytes=side**2)
            for candidate in candidates
        ]
        for result in done:
            if result.candidate.name == 'timm' and side == 64:
                result.seconds, result.error = [], 'out of memory'
        return done

    monkeypatch.setattr(scaling, 'measure', measure)
    ours, timm = scaling.scale([Candidate('ours'), Candidate('timm')], SMALL, 'size', [32, 64, 128])
    assert [x for x, _ in ours.points] == [32**2, 64**2, 128**2] and len(timm.points) == 2
    assert ours.slope(lambda r: r.median) == pytest.approx(2.0)
    assert ours.slope(lambda r: r.peak_bytes) == pytest.approx(1.0)
    assert timm.slope(lambda r: r.median) is None
    assert (
        scaling.Curve(Candidate('ours'), 'size', '', 2 * ours.points[:1]).slope(lambda r: r.median)
        is None
    )  # one x, twice
    paths = outputs.write_curves([ours, timm], tmp_path)
    text = paths[0].read_text()
    assert '- ours, channels_last: slope of time 2.00, of peak memory 1.00' in text
    assert '- not complete: timm, channels_last at 4096: out of memory' in text
    assert paths[2].name == 'train_by_size.png' and paths[2].read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize(
    'axis, value, expected',
    [
        ('size', 96, ((1, 3, 96, 96), 96**2)),
        ('batch', 4, ((4, 3, 64, 64), 4)),
        ('width', 1.5, ([12, 24, 48, 96], 12)),
        ('depth', 2, ([2, 2, 4, 2], 10)),
    ],
)
def test_axes(axis, value, expected):
    setup, x = scaling.AXES[axis].make(SMALL, value)
    changed = {'width': lambda: setup.arch['dims'], 'depth': lambda: setup.arch['depths']}
    assert (changed.get(axis, lambda: setup.shape)(), x) == expected
