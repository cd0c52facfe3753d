"""Whole backbones under autocast: every peer and all our forms in turn, eager first, then the best of them compiled."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass, replace
from unittest import mock

import torch
from gpu_run import Run
from gpu_table import ANCHOR, measured

from convnext_dense.benchmark import step as steps
from convnext_dense.benchmark.networks import OURS, build
from convnext_dense.benchmark.plan import FORMATS, Candidate, Setup
from convnext_dense.benchmark.report import describe_error
from convnext_dense.ops import dispatch

# mode -> seconds that it may take to get ready; what compiling took takes its place.
NEEDS = {'eager': 3.0, 'graph': 4.0, 'compile': 40.0, 'max-autotune': 100.0}
FEW = 3  # of the fastest peers, and of ours, stay for the next rounds
OUR_NAMES = [name for name in OURS if name != 'ours inference']  # that one is for CPUs


@dataclass(frozen=True)
class Form:
    """A network, its memory format, how it runs, and for ours which operations run by kernels."""

    name: str
    layout: str = 'channels_last'
    mode: str = 'eager'
    kernels: str = 'auto'

    @property
    def label(self) -> str:
        parts = [self.name, self.layout, *([self.mode] if self.mode != 'eager' else [])]
        return ', '.join([*parts, *([f'kernels {self.kernels}'] if self.name in OURS else [])])

    @classmethod
    def parse(cls, label: str) -> Form:
        name, layout, *rest = label.split(', ')
        given = {'kernels': rest.pop().removeprefix('kernels ')} if name in OURS else {}
        return cls(name, layout, *rest, **given)


def kernels(run: Run, choice: str):
    """Where 'triton' kernels run: wherever they can; 'winners': what ``operations`` found; 'auto': as it is shipped."""
    if choice == 'auto':
        return contextlib.nullcontext()
    if choice == 'torch':
        return dispatch.forbid()
    chosen = dict.fromkeys(dispatch.OPERATIONS, 'forced') if choice == 'triton' else run.winners
    return mock.patch.dict(dispatch.MEASURED, chosen, clear=True)


class QueuedStep(steps.Step):
    """Ends when its work is queued: events take its time."""

    def _wait(self) -> None:
        pass


def arch_of(run: Run, arch: str):
    return dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)) if run.toy else arch


def make_step(run: Run, form: Form, arch: str, shape, training: bool, builder=build) -> steps.Step:
    """A step that ran: built where it runs, as drawing the weights of 20 networks takes minutes on a CPU.

    Call it, and what it gives, with ``kernels``.
    """

    def build_there(*args):
        with torch.device(run.device):
            return builder(*args)

    compiled = {'compile': 'default', 'max-autotune': 'max-autotune'}.get(form.mode, '')
    setup = Setup(
        arch=arch_of(run, arch),
        shape=tuple(shape),
        mode='train' if training else 'forward',
        device=run.device,
        dtype='fp16' if run.toy else 'bf16',
    )
    with mock.patch.object(steps, 'build', build_there):
        return QueuedStep(Candidate(form.name, form.layout, compiled), setup)


def graphed(step: steps.Step):
    """A call that launches the step's whole work at once, as max-autotune does for what it compiles."""
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(2):
            step.run()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step.run()
    return graph.replay


class Case:
    """An arch at a shape, for inference or a training step: its forms take turns."""

    def __init__(self, run: Run, arch: str, shape, training: bool):
        self.run, self.arch, self.shape, self.training = run, arch, shape, training
        size = 'x'.join(map(str, shape))
        self.results = run.at(
            'backbones', f'{arch} {size} {"training step" if training else "inference"}'
        )
        self.calls = {}

    def add(self, forms: list[Form], seconds: float = 3.0) -> None:
        """Makes them ready and times them in turn with the fastest so far."""
        for form in forms:
            # What a process before this one made ready and did not time is made again.
            if not {'ms', 'error'} & self.results.get(form.label, {}).keys():
                self.results.pop(form.label, None)
                self.run.item(
                    self.results, form.label, functools.partial(self._make, form), NEEDS[form.mode]
                )
        self.run.free()
        for label, ms in self.run.times(self.calls, seconds).items():
            if 'error' not in self.results[label]:
                self.results[label]['ms'] = ms
        self.run.check_gpu()
        self.run.write()
        stay = [*self.fastest('peers'), *self.fastest('ours'), ANCHOR]
        self.calls = {label: call for label, call in self.calls.items() if label in stay}

    def fastest(self, whose: str, mode: str | None = None) -> list[str]:
        """Labels of the fastest, first the fastest, in any mode or in one."""
        found = {
            label: entry['ms']
            for label, entry in measured(self.results).items()
            if label.startswith('ours') == (whose == 'ours')
            and mode in (None, Form.parse(label).mode)
        }
        return sorted(found, key=found.get)[:FEW]

    def _make(self, form: Form) -> dict:
        before = self.run.left()
        try:
            with kernels(self.run, form.kernels):
                step = make_step(self.run, form, self.arch, self.shape, self.training)
                peak = step.measure_peak()
                call = graphed(step) if form.mode == 'graph' and not self.run.toy else step.run
        except Exception:
            self.run.free()
            raise
        self.calls[form.label] = functools.partial(self._call, form, call)
        seconds = before - self.run.left()
        if form.mode in ('compile', 'max-autotune'):
            NEEDS[form.mode] = 1.2 * seconds
        return {'peak_bytes': peak, 'ready_seconds': round(seconds, 1)}

    def _call(self, form: Form, call) -> None:
        if 'error' not in self.results[form.label]:
            try:
                with kernels(self.run, form.kernels):
                    call()
            except Exception as error:  # the others go on
                self.results[form.label]['error'] = describe_error(error)


def eager_forms(run: Run) -> list[Form]:
    """Every peer in both formats, ours with each choice of kernels; 'ours plain' uses none."""
    peers = [Form(name, layout) for name in run.report['settings']['peers'] for layout in FORMATS]
    choices = ('auto', 'torch', 'triton', *(['winners'] if run.winners else []))
    return peers + [
        Form(name, kernels=choice)
        for name in OUR_NAMES
        for choice in (('auto',) if name == 'ours plain' else choices)
    ]


def measure_backbones(run: Run, arch: str) -> None:
    """Into ``backbones``: all eager; then, as time allows, the fastest as CUDA graphs and compiled."""
    cases = [
        Case(run, arch, shape, training)
        for shape in run.report['settings']['shapes']
        for training in (True, False)
    ]
    for case in cases:
        case.add(eager_forms(run))
    for mode, peers in (('graph', 2), ('compile', 2), ('max-autotune', 1)):
        for case in cases:
            labels = case.fastest('peers', 'eager')[:peers] + case.fastest('ours', 'eager')[:1]
            case.add([replace(Form.parse(label), mode=mode) for label in labels])
