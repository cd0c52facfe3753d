"""The loss curves of one training run in each memory mode, beside what rounding alone does to the curve.

    python tools/prepare_data.py sample && python benchmarks/training_modes.py [--iterations 200]

Every run is a process of its own with the same seed: same weights, pictures, augmentation, dropout and drop path; a
digest of torch's random numbers shows that each mode drew as many. bf16 runs are under autocast; 'plain' is what other
libraries do. Differences are |loss - reference| / reference, the reference being 'plain' of the same dtype. Training
amplifies any rounding, so the yardstick ('noise') is 'plain' with another number of threads, and with every initial
weight off by the dtype's rounding error. A mode has the same curve if its mean difference is at most LIMIT times the
greater yardstick's. ``residual bf16`` is another computation: shown, not judged. 'default' runs in its lean form
however small the maps. Exit status 1: a curve is not the same, or the random numbers are not.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # works from a checkout that is not installed

import torch  # noqa: E402
from mmengine.config import Config, DictAction  # noqa: E402
from mmengine.hooks import Hook  # noqa: E402
from mmengine.optim import OptimWrapper  # noqa: E402
from mmengine.registry import OPTIM_WRAPPERS  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from training_modes_table import COLUMNS, LIMIT, draw, judge, make_row  # noqa: E402

import convnext_dense  # noqa: E402, F401  (first: it stands in for mmcv's compiled ops)
from convnext_dense import apis  # noqa: E402
from convnext_dense.benchmark.plan import default_device  # noqa: E402
from convnext_dense.benchmark.report import describe_system, format_table, log, write_json  # noqa: E402

THREADS, NUDGED = ', other threads', ', weights nudged'
# run -> settings of the backbone
RUNS = {
    'fp32 plain': dict(memory='full'),
    'fp32 plain' + THREADS: dict(memory='full'),
    'fp32 plain' + NUDGED: dict(memory='full'),
    'fp32 default': dict(memory='half'),
    'fp32 low': dict(memory='low'),
    'bf16 plain': dict(memory='full'),
    'bf16 plain' + NUDGED: dict(memory='full'),
    'bf16 default': dict(memory='half'),
    'bf16 default, residual bf16': dict(memory='half', residual_dtype='bfloat16'),
}


@OPTIM_WRAPPERS.register_module(force=True)  # as a script, and as a module of another
class Bf16OptimWrapper(OptimWrapper):
    """bf16 autocast on any device; mmengine's AmpOptimWrapper wants a GPU. bf16 needs no loss scale."""

    @contextlib.contextmanager
    def optim_context(self, model):
        with (
            super().optim_context(model),
            torch.autocast(next(model.parameters()).device.type, torch.bfloat16),
        ):
            yield


class Curve(Hook):
    """Notes loss and seconds of every iteration (without the wait for data), and a digest of the random numbers."""

    priority = 'VERY_HIGH'

    def __init__(self, nudge: float):
        self.nudge, self.digest, self.loss, self.seconds = nudge, hashlib.sha256(), [], []

    def before_train(self, runner) -> None:
        generator = torch.Generator().manual_seed(
            1
        )  # of its own: the run's numbers stay those of the others
        for parameter in runner.model.parameters() if self.nudge else ():
            sign = (
                torch.randint(0, 2, parameter.shape, generator=generator).to(parameter.device) * 2
                - 1
            )
            parameter.data.copy_(parameter.double() * (1 + sign.double() * self.nudge))

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        for image in data_batch['inputs']:
            self.digest.update(image.numpy().tobytes())
        self.start = time.perf_counter()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.loss.append(outputs['loss'].item())  # waits for a GPU too
        self.seconds.append(time.perf_counter() - self.start)
        for state in (torch.get_rng_state(), *torch.cuda.get_rng_state_all()):
            self.digest.update(state.numpy().tobytes())


def set_precision(cfg: Config, dtype: str) -> None:
    """'fp32' or 'bf16', whatever mixed precision the config has."""
    cfg.optim_wrapper.type = 'Bf16OptimWrapper' if dtype == 'bf16' else 'OptimWrapper'
    for name in ('loss_scale', 'dtype'):
        cfg.optim_wrapper.pop(name, None)


def make_config(args: argparse.Namespace, run: str) -> Config:
    """The config in this mode: its first iterations, no validation, nothing written but the log."""
    cfg = apis.load_config(args.config, args.cfg_options, str(args.out / 'logs'))
    apis.fit_to_machine(cfg)
    apis.require_data(cfg, ['train_dataloader'])
    cfg.model.backbone.update(init_cfg=None, drop_path_rate=args.drop_path, **RUNS[run])
    set_precision(cfg, run[:4])
    cfg.merge_from_dict(
        {
            'randomness.seed': 0,
            'train_cfg.max_iters': args.iterations,
            'load_from': None,
            'resume': False,
            'log_level': 'WARNING',
            'custom_hooks': [],
            'default_hooks.checkpoint': None,
        }
    )
    for part in (
        f'{split}_{kind}'
        for split in ('val', 'test')
        for kind in ('cfg', 'dataloader', 'evaluator')
    ):
        cfg[part] = None
    return cfg


def work(args: argparse.Namespace) -> None:
    """One run in this process."""
    start = time.perf_counter()
    runner = Runner.from_cfg(make_config(args, args.work))
    eps = torch.finfo(torch.bfloat16 if args.work.startswith('bf16') else torch.float32).eps
    curve = Curve(eps / 2 if args.work.endswith(NUDGED) else 0.0)
    runner.register_hook(curve)
    runner.train()
    write_json(
        dict(
            run=args.work,
            loss=curve.loss,
            seconds=curve.seconds,
            total=time.perf_counter() - start,
            threads=torch.get_num_threads(),
            random=curve.digest.hexdigest(),
        ),
        name_file(args, args.work),
    )


def name_file(args: argparse.Namespace, run: str) -> Path:
    return args.out / f'{run.replace(",", "").replace(" ", "_")}.json'


def start(args: argparse.Namespace, run: str) -> dict:
    threads = args.threads or torch.get_num_threads()
    threads = (2 if threads == 1 else 1) if run.endswith(THREADS) else threads
    command = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], '--work', run],
        capture_output=True,
        text=True,
        env=os.environ | dict(OMP_NUM_THREADS=str(threads)),
    )
    if command.returncode:
        sys.exit(f'{run}: {command.stderr[-3000:]}')
    result = json.loads(name_file(args, run).read_text())
    log(f'{run}: {result["total"]:.0f} s')
    return result


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--config', default='configs/upernet_convnext_atto_sample.py', help='(default: %(default)s)'
    )
    parser.add_argument('--iterations', type=int, default=200, help='of each run (default: 200)')
    parser.add_argument(
        '--drop-path', type=float, default=0.1, help='rate of the last block (default: 0.1)'
    )
    parser.add_argument('--threads', type=int, help="of torch (default: torch's)")
    parser.add_argument(
        '--runs',
        nargs='+',
        choices=RUNS,
        default=list(RUNS),
        metavar='RUN',
        help='some of them alone; the reference of their dtype is added',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='as in tools/train.py',
    )
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/training_modes'), help='(default: %(default)s)'
    )
    parser.add_argument('--work', choices=RUNS, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    try:
        make_config(
            args, args.work or 'fp32 plain'
        )  # a wrong one is refused before a process is started
        if args.work:
            work(args)
            return 0
    except apis.ConfigError as error:
        sys.exit(f'error: {error}')
    args.out.mkdir(parents=True, exist_ok=True)
    needed = {f'{run[:4]} plain' for run in args.runs} | set(args.runs)
    results = {run: start(args, run) for run in RUNS if run in needed}
    good = judge(results)
    print(format_table(COLUMNS, [make_row(result) for result in results.values()]))
    write_json(
        dict(
            command=' '.join(['python', 'benchmarks/training_modes.py', *sys.argv[1:]]),
            limit=LIMIT,
            system=describe_system(device=default_device()),
            runs=results,
        ),
        args.out / 'training_modes.json',
    )
    draw(results, args.out / 'training_modes.png')
    print(f'written: {args.out}/training_modes.json and .png')
    return int(not good)


if __name__ == '__main__':
    sys.exit(main())
