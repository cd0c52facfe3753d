"""Peak memory and time of whole training steps, in each memory mode: UperNet T and Mask R-CNN T, random weights.

    python benchmarks/model_memory.py [--size 512] [--batch 2] [--device cuda --amp bf16]

A step is forward, loss, backward and the optimizer's step, on random pictures and labels. The learning rate is 0 and
each step has the same seed, so that every mode trains the same proposals. Each mode runs in a process of its own.

``model peak`` is the most memory in use during a step above that before it (weights and AdamW's state are there
before): on a CPU resident memory (VmHWM, set back before, free memory given back), with glibc told to give each freed
block back at once; ``resident`` is the same with glibc as it comes, which keeps some blocks that are free: the holes
between those in use. On CUDA it is what torch's allocator gave.
``backbone peak`` is the same for the backbone alone, forward and backward; ``saved`` what its forward keeps for its
backward, without weights and input. Where heads take most of the peak, a leaner backbone cannot make it much less:
``rest`` is the part of the model's peak beyond what the backbone saves. 'plain' keeps what other libraries' eager
networks keep: it is autograd's own formula of the same operations.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # works from a checkout that is not installed

import torch  # noqa: E402
from mmengine.logging import MMLogger  # noqa: E402
from mmengine.optim import build_optim_wrapper  # noqa: E402
from mmengine.registry import MODELS, DefaultScope, init_default_scope  # noqa: E402
from mmengine.structures import PixelData  # noqa: E402
from training_modes import set_precision  # noqa: E402

import convnext_dense  # noqa: E402, F401  (first: it stands in for mmcv's compiled ops)
from convnext_dense import apis  # noqa: E402
from convnext_dense.benchmark import plan  # noqa: E402
from convnext_dense.benchmark.report import MIB, describe_system, format_table, log, write_json  # noqa: E402
from convnext_dense.benchmark.step import Step  # noqa: E402

CONFIGS = ['configs/upernet_convnext_t_ade20k.py', 'configs/mask_rcnn_convnext_t_coco.py']
# mode -> settings of the backbone
MODES = {
    'plain': dict(memory='full'),
    'default': dict(memory='half'),
    'low': dict(memory='low'),
    'plain, with_cp': dict(memory='full', with_cp=True),
}
COLUMNS = (
    'mode',
    's / step',
    'resident MiB',
    'to plain',
    'model peak MiB',
    'to plain',
    'rest MiB',
    'backbone peak MiB',
    'to plain',
    'saved MiB',
    'to plain',
)


class BackboneStep(Step):
    """Forward, and backward from random gradients, of a network that is there already."""

    def __init__(
        self, network: torch.nn.Module, setup: plan.Setup
    ):  # and not Step's, which builds one
        self.setup, self.device = setup, torch.device(setup.device)
        self.model = self.call = network
        self.input, self._gradients = torch.randn(setup.shape, device=self.device), []
        self.run()


class ModelStep(Step):
    """A training step of a whole model as mmengine's loops do it."""

    def __init__(self, model: torch.nn.Module, wrapper, data: dict, setup: plan.Setup):
        self.setup, self.device, self.model = setup, torch.device(setup.device), model
        self.wrapper, self.data = wrapper, data
        for _ in range(2):  # the first makes the optimizer's state
            self.run()

    def run(self) -> None:
        torch.manual_seed(0)
        self.model.train_step(self.data, self.wrapper)  # gradients are gone at its end
        self._wait()


def build(config: str, mode: str, setup: plan.Setup) -> tuple[torch.nn.Module, object]:
    """The model and its optimizer, ready to train."""
    cfg = apis.load_config(config)
    apis.fit_to_machine(cfg)
    cfg.model.backbone.update(init_cfg=None, **MODES[mode])
    if 'size' in cfg.model.data_preprocessor:
        cfg.model.data_preprocessor.size = setup.shape[2:]
    set_precision(cfg, setup.dtype)
    cfg.optim_wrapper.optimizer.lr = 0.0
    init_default_scope(cfg.default_scope)
    MMLogger.get_current_instance().setLevel('WARNING')  # a line for each parameter
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    model.to(setup.device).train()
    return model, build_optim_wrapper(model, cfg.optim_wrapper)


def check(config: str, batch: int, size: int) -> None:
    """Raise ConfigError for a config that cannot be read, or pictures that it cannot train."""
    cfg = apis.load_config(config)
    if cfg.get('default_scope') not in ('mmseg', 'mmdet'):
        raise apis.ConfigError(
            f'{config} needs a model of mmseg or mmdet; its default_scope is '
            f'{cfg.get("default_scope")!r}'
        )
    if batch < (least := 2 if cfg.default_scope == 'mmseg' else 1):
        raise apis.ConfigError(
            f'{config} needs {least} pictures or more at a time (--batch); got {batch}. BatchNorm '
            'behind a pooling to one pixel, as in UperNet, has no variance in a single one'
        )
    if size < 64:
        raise apis.ConfigError(f'pictures need sides of 64 or more (--size); got {size}')


def draw_batch(setup: plan.Setup) -> dict:
    """Random pictures, with a random class for each pixel, or eight random boxes and masks in each."""
    batch, channels, *size = setup.shape
    if DefaultScope.get_current_instance().scope_name == 'mmdet':
        from mmdet.testing import demo_mm_inputs

        return demo_mm_inputs(
            batch, (channels, *size), num_items=[8] * batch, num_classes=6, with_mask=True
        )
    from mmseg.structures import SegDataSample

    labels = [PixelData(data=torch.randint(0, 6, (1, *size))) for _ in range(batch)]
    images = torch.randint(0, 256, setup.shape, dtype=torch.uint8)
    return dict(
        inputs=list(images),
        data_samples=[
            SegDataSample(gt_sem_seg=one, metainfo=dict(img_shape=tuple(size))) for one in labels
        ],
    )


def work(config: str, mode: str, setup: plan.Setup, part: str) -> dict:
    """One mode, measured in this process: 'time' with what stays resident, or 'memory'; seconds and bytes."""
    model, wrapper = build(config, mode, setup)
    step = ModelStep(model, wrapper, draw_batch(setup), setup)
    if part == 'time':
        return dict(
            config=config,
            mode=mode,
            seconds=[step.time()[0] for _ in range(3)],
            resident=step.measure_peak(),
        )
    peak, backbone = step.measure_peak(), BackboneStep(model.backbone, setup)
    return dict(
        config=config,
        mode=mode,
        model_peak=peak,
        backbone_peak=backbone.measure_peak(),
        saved=backbone.count_saved(),
        parameters=sum(one.nbytes for one in model.parameters()),
    )


def start(args: argparse.Namespace, config: str, mode: str) -> dict:
    """Both parts; for memory, glibc takes blocks of 64 KiB and more from the system, and gives them back when freed."""
    result = {}
    for part, extra in (('time', {}), ('memory', dict(MALLOC_MMAP_THRESHOLD_='65536'))):
        command = [sys.executable, __file__, *sys.argv[1:], '--work', config, mode, part]
        run = subprocess.run(command, capture_output=True, text=True, env=os.environ | extra)
        if run.returncode:
            sys.exit(f'{config}, {mode}: {run.stderr[-3000:]}')
        result |= json.loads(run.stdout.splitlines()[-1])
    log(f'{Path(config).stem}, {mode}: {statistics.median(result["seconds"]):.2f} s a step')
    return result


def make_row(result: dict, plain: dict) -> tuple[str, ...]:
    """Memory as MiB and as a part of what 'plain' takes."""

    def show(key: str) -> tuple[str, str]:
        value, whole = result[key], plain[key]
        return (
            ('-', '-')
            if value is None
            else (f'{value / MIB:.0f}', f'{value / whole:.2f}' if whole else '-')
        )

    rest = None if result['model_peak'] is None else result['model_peak'] - result['saved']
    return (
        result['mode'],
        f'{statistics.median(result["seconds"]):.2f}',
        *show('resident'),
        *show('model_peak'),
        '-' if rest is None else f'{rest / MIB:.0f}',
        *show('backbone_peak'),
        *show('saved'),
    )


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--configs',
        nargs='+',
        default=CONFIGS,
        help='of mmseg and mmdet models (default: UperNet T and Mask R-CNN T)',
    )
    parser.add_argument(
        '--modes',
        nargs='+',
        default=list(MODES),
        choices=MODES,
        metavar='MODE',
        help=f'of {", ".join(map(repr, MODES))}; plain is always measured (default: all)',
    )
    parser.add_argument('--size', type=int, default=512, help="the pictures' sides (default: 512)")
    parser.add_argument('--batch', type=int, default=2, help='pictures (default: 2)')
    parser.add_argument('--amp', choices=['fp32', 'bf16'], default='fp32', help='(default: fp32)')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/model_memory'), help='(default: %(default)s)'
    )
    parser.add_argument('--work', nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    setup = plan.Setup('', (args.batch, 3, args.size, args.size), 'train', args.amp, args.device)
    try:
        plan.check('tiny', args.device)
        for config in args.configs:  # wrong ones are refused before minutes are spent on others
            check(config, args.batch, args.size)
        if args.work:
            print(json.dumps(work(*args.work[:2], setup, args.work[2])))
            return
    except apis.ConfigError as error:
        sys.exit(f'error: {error}')
    results = []
    for config in args.configs:
        done = [start(args, config, mode) for mode in dict.fromkeys(['plain', *args.modes])]
        results += done
        print(
            f'\n{Path(config).stem}, {args.batch} x 3 x {args.size} x {args.size}, {args.amp}, {args.device}; '
            f'weights {done[0]["parameters"] / MIB:.0f} MiB'
        )
        print(format_table(COLUMNS, [make_row(one, plain=done[0]) for one in done]), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(
        dict(
            command=' '.join(['python', 'benchmarks/model_memory.py', *sys.argv[1:]]),
            system=describe_system(device=args.device),
            results=results,
        ),
        args.out / 'model_memory.json',
    )


if __name__ == '__main__':
    main()
