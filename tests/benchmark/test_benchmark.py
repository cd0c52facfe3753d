"""The measuring library: what it builds, counts, interleaves and writes."""

import json
import os
import signal
import sys
from contextlib import closing
from dataclasses import replace
from typing import ClassVar

import pytest
import torch
from torch import nn

from convnext_dense.benchmark import compare, memory, networks, records, report, scaling
from convnext_dense.benchmark.compare import Result
from convnext_dense.benchmark.plan import Candidate, Setup, list_candidates
from convnext_dense.benchmark.step import Step
from convnext_dense.benchmark.timing import time_in_turn
from convnext_dense.benchmark.worker import Worker, WorkerError

ARCH = dict(depths=[1, 1, 2, 1], dims=[8, 16, 32, 64])
SMALL = Setup(ARCH, (1, 3, 64, 64), 'train', threads=1)


def make_results(seconds):
    return [Result(Candidate(name), SMALL, times) for name, times in seconds.items()]


def count_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize('name', ['timm', 'timm conv_mlp', 'torchvision', 'transformers'])
def test_libraries_build_the_same_network(name):
    model = networks.build(name, ARCH)
    ours = networks.build('ours', ARCH)
    maps = model(torch.randn(1, 3, 64, 96))
    assert [tuple(y.shape) for y in maps] == [
        (1, dim, 16 // 2**i, 24 // 2**i) for i, dim in enumerate(ARCH['dims'])
    ]
    # All but transformers lack the LayerNorms of the outputs.
    output_norms = 0 if name == 'transformers' else 2 * sum(ARCH['dims'])
    assert count_parameters(model) == count_parameters(ours) - output_norms


def test_v1_networks_refuse_v2():
    with pytest.raises(ValueError, match='torchvision has no ConvNeXt V2; leave it out'):
        networks.build('torchvision', 'v2_atto')


def test_candidates_are_all_networks_formats_and_compile_modes():
    forward = list_candidates(['timm', 'ours inference'], compile_modes=['', 'default'])
    assert [candidate.label for candidate in forward] == [
        'timm, channels_first',
        'timm, channels_first, compiled',
        'timm, channels_last',
        'timm, channels_last, compiled',
        'ours inference, channels_first',
        'ours inference, channels_last',
    ]
    trained = list_candidates(['timm', 'ours inference'], ['channels_last'], mode='train')
    assert [candidate.name for candidate in trained] == ['timm']


class Sigmoid(nn.Module):
    """Saves its output, 4 bytes an element, besides its input and its parameter."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return [(self.weight * x).sigmoid()]


def test_saved_and_peak_bytes_of_a_known_network():
    setup = replace(SMALL, shape=(2, 3, 512, 512), timed=3)
    step = Step(Candidate('', 'channels_first'), setup, Sigmoid())
    size = 4 * 2 * 3 * 512 * 512
    assert step.count_saved() == size
    assert len(step.time()) == 3
    peak = step.measure_peak()
    if sys.platform == 'linux' and peak is not None:
        assert size < peak < 8 * size


def test_forward_saves_nothing():
    forward = replace(SMALL, mode='forward')
    assert Step(Candidate('ours'), forward).count_saved() is None


def test_calls_take_turns():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in 'ab'}
    medians = time_in_turn(calls, rounds=2, untimed=1)
    assert order == ['a', 'b'] * 3
    assert list(medians) == ['a', 'b']


class Echo:
    """What a worker holds in these tests."""

    def __init__(self, text):
        if text == 'bad':
            raise KeyError('no such text')
        self.text = text

    def get(self):
        return self.text, os.environ.get('ECHO')

    def fail(self):
        raise ValueError('first line\nsecond line')

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_worker_answers_and_has_its_environment():
    with closing(Worker(Echo, 'hello', environment={'ECHO': '1'})) as worker:
        assert worker.ask('get') == ('hello', '1')
        assert 'ECHO' not in os.environ
        with pytest.raises(WorkerError, match=r'^ValueError: first line$'):
            worker.ask('fail')
        with pytest.raises(WorkerError, match='its process died'):
            worker.ask('die')


def test_worker_reports_what_cannot_be_built():
    with (
        closing(Worker(Echo, 'bad')) as worker,
        pytest.raises(WorkerError, match=r"^KeyError: 'no such text'$"),
    ):
        worker.ask('get')


class FakeWorker:
    """Notes who was asked what; 'timm' dies in its second turn, torchvision at once."""

    asked: ClassVar[list] = []

    def __init__(self, factory, candidate, setup, environment):
        self.name, self.turns = candidate.name, 0

    def ask(self, question):
        self.asked.append((self.name, question))
        if self.name == 'torchvision':
            raise WorkerError('does not build')
        if question != 'time':
            return 7
        self.turns += 1
        if self.name == 'timm' and self.turns == 2:
            raise WorkerError('out of memory')
        return [float(self.turns)]

    def close(self):
        self.asked.append((self.name, 'close'))


@pytest.fixture
def fake_workers(monkeypatch):
    monkeypatch.setattr(FakeWorker, 'asked', [])
    monkeypatch.setattr(compare, 'Worker', FakeWorker)
    monkeypatch.setattr(memory, 'read_available', lambda: 10**12)
    return FakeWorker


def test_rounds_are_interleaved_and_go_on_without_those_that_fail(fake_workers):
    names = ['timm', 'torchvision', 'ours', 'transformers']
    results = compare.measure([Candidate(name) for name in names], SMALL, rounds=3)
    assert [r.error for r in results] == ['out of memory', 'does not build', None, None]
    assert [r.seconds for r in results] == [[1.0], [], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]
    assert [r.peak_bytes for r in results] == [None, None, 7, 7]
    turns = [name for name, question in fake_workers.asked if question == 'time']
    assert set(turns[:3]) == set(turns[3:6]) == {'timm', 'ours', 'transformers'}
    assert set(turns[6:]) == {'ours', 'transformers'}
    assert {name for name, question in fake_workers.asked if question == 'close'} == set(names)


def test_rounds_end_when_the_time_is_over_but_not_before_the_first(fake_workers):
    (result,) = compare.measure([Candidate('ours')], SMALL, rounds=9, seconds=0.0)
    assert result.seconds == [1.0]


def test_networks_are_measured_in_groups_where_memory_is_small(fake_workers, monkeypatch):
    monkeypatch.setattr(memory, 'read_available', lambda: 13)  # a fake worker's peak is 7
    messages = []
    candidates = [Candidate(name) for name in ('ours', 'timm conv_mlp', 'ours low')]
    results = compare.measure(candidates, SMALL, 2, log=messages.append)
    assert [r.seconds for r in results] == [[1.0, 2.0]] * 3
    assert 'no memory for more: measuring 2 networks, then the others' in messages
    order = [name for name, _ in fake_workers.asked]
    assert 'ours low' not in order[: order.index('ours low')]
    assert set(order[order.index('ours low') :]) == {'ours low'}


def test_results_of_real_processes():
    v2 = replace(SMALL, arch=ARCH | dict(use_grn=True))
    names = ['timm', 'torchvision', 'ours', 'ours low', 'ours full']
    candidates = [Candidate(name) for name in names]
    timm, bad, ours, low, full = compare.measure(candidates, v2, rounds=2)
    assert len(timm.seconds) == 2
    assert timm.error is None
    assert timm.machine.endswith('1 threads')
    assert bad.error.startswith('ValueError: torchvision has no ConvNeXt V2')
    assert low.saved_bytes < min(ours.saved_bytes, timm.saved_bytes)
    assert ours.saved_bytes <= full.saved_bytes


def test_rows_are_sorted_and_ratios_are_of_medians():
    results = make_results(
        {'ours': [0.1, 0.2, 0.3], 'timm': [0.5, 0.4, 0.3], 'timm conv_mlp': [0.25], 'ours low': []}
    )
    results[0].saved_bytes = 3 * 2**19
    lines = report.format_comparison(results).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    assert cells == [
        ['ours, channels_last', '200.0', '100.0', '1.25', '2.00', '1.5', '-'],
        ['timm conv_mlp, channels_last', '250.0', '250.0', '1.00', '1.60', '-', '-'],
        ['timm, channels_last', '400.0', '300.0', '0.62', '1.00', '-', '-'],
        ['ours low, channels_last', '-', '-', '-', '-', '-', '-'],
    ]


def test_files_hold_samples_failures_and_system_but_no_path(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [str(tmp_path / 'convnext-dense'), 'benchmark'])
    results = make_results({'ours': [0.1, 0.2], 'timm': [0.4], 'ours low': []})
    results[2].error = 'out of memory'
    table, data, picture = report.write_report(results, tmp_path)
    assert [path.name for path in (table, data, picture)] == ['train.md', 'train.json', 'train.png']
    assert '- not complete: ours low, channels_last: out of memory' in table.read_text()
    record = json.loads(data.read_text())
    assert record['command'] == 'convnext-dense benchmark'
    assert [one['seconds'] for one in record['results']] == [[0.1, 0.2], [0.4], []]
    assert record['system']['versions']['torch'].startswith(torch.__version__.split('+')[0])
    assert record['system']['cpu'] == records.name_cpu()
    assert picture.read_bytes().startswith(b'\x89PNG')


def test_scaling_leaves_out_what_failed(tmp_path, monkeypatch):
    def measure(candidates, setup, *_):
        side = setup.shape[2]
        results = []
        for candidate in candidates:
            results.append(Result(candidate, setup, [side**4 / 1e9], peak_bytes=side**2))
            if candidate.name == 'timm' and side == 64:
                results[-1].seconds, results[-1].error = [], 'out of memory'
        return results

    monkeypatch.setattr(scaling, 'measure', measure)
    candidates = [Candidate('ours'), Candidate('timm')]
    results = scaling.scale(candidates, SMALL, 'size', [32, 64, 128])
    ours, timm = scaling.group_by_candidate(results).values()
    assert len(ours) == 3
    assert len(timm) == 2
    table, _, picture = report.write_report(results, tmp_path, 'size')
    text = table.read_text()
    assert '- ours, channels_last: slope of time 2.00, of peak memory 1.00' in text
    assert '- timm, channels_last: slope of time -' in text
    assert '- not complete: timm, channels_last at 4096: out of memory' in text
    assert picture.name == 'train_by_size.png'
    assert picture.read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize('points', [[], [(1.0, 2.0)], [(1.0, 2.0), (1.0, 3.0)]])
def test_slope_needs_two_different_x(points):
    assert scaling.fit_slope(points) is None


@pytest.mark.parametrize(
    'axis, value, x, change',
    [
        ('size', 96, 96**2, dict(shape=(1, 3, 96, 96))),
        ('batch', 4, 4, dict(shape=(4, 3, 64, 64))),
        ('width', 1.5, 12, dict(dims=[12, 24, 48, 96])),
        ('depth', 2, 10, dict(depths=[2, 2, 4, 2])),
    ],
)
def test_axes(axis, value, x, change):
    setup = scaling.AXES[axis].change(SMALL, value)
    assert scaling.AXES[axis].read(setup) == x
    values = {'shape': setup.shape} | setup.arch
    assert all(values[name] == expected for name, expected in change.items())
