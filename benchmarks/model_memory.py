"""Peak memory of whole training steps in each memory mode: UperNet T and Mask R-CNN T.

    python benchmarks/model_memory.py [--size 512] [--batch 2] [--device cuda --amp bf16]

Each mode trains random weights on random images and labels in a fresh process. ``model peak`` is
the most memory in use during a step above that before it; weights and AdamW's state are there
before. ``backbone peak`` is the same for the backbone alone, and ``saved`` what its forward keeps
for its backward. 'full' keeps what the networks of other libraries keep.
"""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData

from convnext_dense import apis
from convnext_dense.benchmark.memory import EXACT_MALLOC, MIB, measure_peak
from convnext_dense.benchmark.plan import Candidate, Setup
from convnext_dense.benchmark.records import format_number, format_table, log, write_record
from convnext_dense.benchmark.step import Step
from convnext_dense.benchmark.worker import Worker
from convnext_dense.errors import ConfigError

CONFIGS = ('upernet_convnext_t_ade20k', 'mask_rcnn_convnext_t_coco')
MODES = {
    'full': dict(memory='full'),
    'half': dict(memory='half'),
    'low': dict(memory='low'),
    'full, with_cp': dict(memory='full', with_cp=True),
}
FIGURES = ('model peak', 'backbone peak', 'saved')


class TrainingStep:
    """A whole model that trains as in mmengine's loop."""

    def __init__(self, config: str, mode: str, setup: Setup):
        self.setup = setup
        cfg = load_config(config, setup)
        cfg.model.backbone.update(init_cfg=None, **MODES[mode])
        init_default_scope(cfg.default_scope)
        torch.manual_seed(0)
        self.model = MODELS.build(cfg.model)
        self.model.init_weights()
        self.model.to(setup.device).train()
        # Without learning, each step sees the same proposals.
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.0)
        self.data = draw_batch(cfg.default_scope, setup)
        self.run()  # makes the optimizer's state

    def run(self) -> None:
        """One step, each with the same random numbers."""
        torch.manual_seed(0)
        with torch.autocast(self.setup.device, torch.bfloat16, self.setup.dtype == 'bf16'):
            batch = self.model.data_preprocessor(self.data, training=True)
            losses = self.model(**batch, mode='loss')
        loss, _ = self.model.parse_losses(losses)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def measure(self) -> dict[str, int | None]:
        """Bytes of each of ``FIGURES``."""
        peak = measure_peak(self.run, self.setup.device)
        backbone = Step(Candidate('', 'channels_first'), self.setup, self.model.backbone)
        values = (peak, backbone.measure_peak(), backbone.count_saved())
        return dict(zip(FIGURES, values, strict=True))


def load_config(config: str, setup: Setup) -> Config:
    """The config, fitted to this machine and to the size of the images.

    Raises:
        ConfigError: no such config, or no model of mmseg or mmdet.
    """
    cfg = apis.load_config(config)
    apis.fit_to_machine(cfg)
    if cfg.get('default_scope') not in ('mmseg', 'mmdet'):
        raise ConfigError(f'{config} has no model of mmseg or mmdet')
    if 'size' in cfg.model.data_preprocessor:
        cfg.model.data_preprocessor.size = setup.shape[2:]
    return cfg


def draw_batch(scope: str, setup: Setup) -> dict:
    """Random images, with a class for each pixel, or eight boxes and masks in each."""
    batch, channels, *size = setup.shape
    if scope == 'mmdet':
        from mmdet.testing import demo_mm_inputs

        shape = (channels, *size)
        return demo_mm_inputs(batch, shape, [8] * batch, num_classes=6, with_mask=True)
    from mmseg.structures import SegDataSample

    samples = []
    for _ in range(batch):
        labels = PixelData(data=torch.randint(0, 6, (1, *size)))
        samples.append(SegDataSample(gt_sem_seg=labels, metainfo={'img_shape': tuple(size)}))
    images = torch.randint(0, 256, setup.shape, dtype=torch.uint8)
    return {'inputs': list(images), 'data_samples': samples}


def measure_modes(config: str, modes: list[str], setup: Setup) -> list[dict]:
    """The figures of each mode in bytes."""
    results = []
    for mode in modes:
        log(f'{config}, {mode}')
        with closing(Worker(TrainingStep, config, mode, setup, environment=EXACT_MALLOC)) as worker:
            results.append({'config': config, 'mode': mode} | worker.ask('measure'))
    return results


def format_modes(results: list[dict]) -> str:
    """A table in MiB, and each figure over that of the first mode."""
    columns, rows = ['mode'], []
    for name in FIGURES:
        columns += [f'{name} MiB', f'x {results[0]["mode"]}']
    for result in results:
        row = [result['mode']]
        for name in FIGURES:
            value, first = result[name], results[0][name]
            row += [format_number(value, MIB, digits=0), f'{value / first:.2f}' if first else '-']
        rows.append(row)
    return format_table(columns, rows)


def main() -> None:
    """Measure, print the tables and write the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--configs', nargs='+', default=CONFIGS)
    parser.add_argument('--modes', nargs='+', default=list(MODES), choices=MODES, metavar='MODE')
    parser.add_argument('--size', type=int, default=512, help='side of the images (default: 512)')
    parser.add_argument('--batch', type=int, default=2, help='images (default: 2)')
    parser.add_argument('--amp', choices=['fp32', 'bf16'], default='fp32')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/model_memory.json'))
    args = parser.parse_args()
    setup = Setup('', (args.batch, 3, args.size, args.size), 'train', args.amp, args.device)
    for config in args.configs:  # wrong ones are refused before minutes are spent on others
        load_config(config, setup)
    results = []
    for config in args.configs:
        results += measure_modes(config, list(dict.fromkeys(['full', *args.modes])), setup)
        title = f'{config}, {args.batch}x3x{args.size}x{args.size}, {args.amp}, {args.device}'
        here = [result for result in results if result['config'] == config]
        print(f'{title}\n\n{format_modes(here)}\n', flush=True)
    write_record(args.out, results)


if __name__ == '__main__':
    main()
