"""The range of learning rates in the log, and that schedules keep the ratios of the groups."""

import math
import re

import pytest
from mmengine.hooks import Hook

WARM_UP = dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=4)


def poly(**kwargs):
    # Its end is at the 13th step.
    return [WARM_UP, dict(type='PolyLR', power=1.0, by_epoch=False, begin=4, end=13, **kwargs)]


class Recorder(Hook):
    """Learning rate of each group at each step, and the scalars that the log shows."""

    priority = 'LOWEST'

    def __init__(self):
        self.rates, self.scalars = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rates.append([group['lr'] for group in runner.optim_wrapper.optimizer.param_groups])
        scalars = runner.message_hub.log_scalars
        self.scalars.append((scalars['train/min_lr'].current(), scalars['train/max_lr'].current()))
        assert len(scalars['train/max_lr'].data[0]) == runner.iter + 1  # one value for each step


def train(make_runner, schedulers, max_iters=12, **kwargs):
    """A run without validation; its log and what :class:`Recorder` saw."""
    recorder = Recorder()
    hooks = [dict(type='convnext_dense.LearningRateRangeHook'), recorder]
    runner = make_runner(
        dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=100),
        custom_hooks=hooks,
        param_scheduler=schedulers,
        val_dataloader=None,
        val_cfg=None,
        val_evaluator=None,
        **kwargs,
    )
    runner.train()
    with open(runner.logger.log_file) as file:
        return file.read(), recorder


@pytest.fixture(autouse=True)
def no_wait(monkeypatch):
    """Skip the two seconds that mmengine waits when it restarts a data loader."""
    monkeypatch.setattr('mmengine.runner.loops.time.sleep', lambda seconds: None)


COSINE = [
    WARM_UP,
    dict(type='CosineAnnealingLR', eta_min_ratio=1 / 8, by_epoch=False, begin=4, end=12),
]


@pytest.mark.parametrize(
    'schedulers, last',
    [(poly(eta_min=0.0), 1 / 8), (COSINE, 1 / 8 + 7 / 8 * (1 + math.cos(math.pi * 7 / 8)) / 2)],
    ids=['poly', 'cosine'],
)
def test_schedulers_keep_the_ratios(schedulers, last, make_runner):
    """Warm-up and decay multiply all groups by the same factor."""
    _, recorder = train(make_runner, schedulers)
    # Depths (1, 1, 4, 1) have num_layers 5; each layer has two groups.
    scales = [0.5**n for n in (6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0)]
    assert len(recorder.rates) == 12 and len({rates[-1] for rates in recorder.rates}) > 8
    for rates in recorder.rates:
        assert [rate / max(rates) for rate in rates] == pytest.approx(scales)
    largest = [rates[-1] for rates in recorder.rates]
    assert largest[0] == pytest.approx(1e-4)  # the warm-up starts from a tenth
    assert max(largest) == pytest.approx(1e-3)
    assert largest[-1] == pytest.approx(1e-3 * last)  # the 8th step of the decay, before its end


def test_eta_min_is_one_rate_for_all_groups(make_runner):
    """The documentation therefore recommends eta_min=0 with layer-wise decay."""
    _, recorder = train(make_runner, poly(eta_min=1e-4), max_iters=13)
    assert recorder.rates[-1] == pytest.approx([1e-4] * len(recorder.rates[-1]))


def test_range_is_in_log_lines_and_scalars(make_runner, tmp_path):
    log, recorder = train(make_runner, poly())
    lines = re.findall(r'Iter\(train\).* min_lr: (\S+) max_lr: (\S+) ', log)
    assert len(lines) == 12
    for line, scalars in zip(lines, recorder.scalars, strict=True):
        assert [float(rate) for rate in line] == pytest.approx(scalars, rel=1e-4)
        assert scalars[0] == pytest.approx(scalars[1] / 2**6)
    assert recorder.scalars[0][1] == pytest.approx(1e-4)  # of the step itself, not of the next one
    assert recorder.scalars[5][1] == pytest.approx(1e-3 * 7 / 8)
    (scalar_file,) = tmp_path.glob('*/vis_data/scalars.json')
    assert scalar_file.read_text().count('"max_lr"') == 12


def test_range_continues_after_resume(make_runner, tmp_path):
    checkpoint = dict(
        checkpoint=dict(type='CheckpointHook', interval=6, by_epoch=False),
        logger=dict(type='LoggerHook', interval=1),
    )
    _, whole = train(make_runner, poly(), default_hooks=checkpoint)
    log, resumed = train(make_runner, poly(), resume=True, load_from=str(tmp_path / 'iter_6.pth'))
    assert len(resumed.scalars) == 6
    for scalars, expected in zip(resumed.scalars, whole.scalars[6:], strict=True):
        assert scalars == pytest.approx(expected)
    assert re.search(r'\[ 7/12\].* max_lr: 7\.5000e-04', log)


def test_several_optimizers():
    from mmengine.logging import MessageHub
    from mmengine.optim import OptimWrapper, OptimWrapperDict
    from torch import nn, optim

    from convnext_dense.engine import LearningRateRangeHook

    class Runner:
        message_hub = MessageHub('several optimizers')
        optim_wrapper = OptimWrapperDict(
            **{
                name: OptimWrapper(
                    optim.SGD(
                        [
                            dict(params=nn.Linear(1, 1).parameters(), lr=lr * scale)
                            for scale in (0.1, 1.0, 0.5)
                        ],
                        lr=9.0,
                    )
                )
                for name, lr in (('a', 1.0), ('b', 2.0))
            }
        )

    LearningRateRangeHook().before_train_iter(Runner, 0)
    current = {key: buffer.current() for key, buffer in Runner.message_hub.log_scalars.items()}
    assert current == {
        'train/a.min_lr': 0.1,
        'train/a.max_lr': 1.0,
        'train/b.min_lr': 0.2,
        'train/b.max_lr': 2.0,
    }
