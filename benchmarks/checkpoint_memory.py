"""Memory that reading, loading and converting a checkpoint takes, against the size of its file.

    python benchmarks/checkpoint_memory.py [--arch xlarge] [--folder FOLDER]

Writes a file of random weights, and does each thing in a process of its own. ``peak`` is the highest resident memory
(VmHWM, set back before) less what was resident before; it counts pages of the mapped file, which the system can drop at
any time. ``own`` is the highest anonymous memory less what there was before, sampled every 2 ms: what it cannot drop.
The model of ``load`` is there before. Linux alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # works from a checkout that is not installed

MB = 1e6
STATUS, PEAK = Path('/proc/self/status'), Path('/proc/self/clear_refs')
LIMIT = 1.5  # times the file's size


def resident(field: str) -> float:
    """A field of /proc/self/status (VmRSS, VmHWM, RssAnon) in MB of a million bytes."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field + ':'))
    return int(line.split()[1]) * 1024 / MB


class Watch:
    """``peak`` and ``own`` of what happens inside, in MB."""

    def __enter__(self):
        PEAK.write_text('5')
        self._before, self._own, self._on = resident('VmRSS'), resident('RssAnon'), True
        self._most = self._own
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_):
        self.seconds = time.perf_counter() - self._start
        self._on = False
        self._thread.join()
        self.peak, self.own = resident('VmHWM') - self._before, self._most - self._own

    def _sample(self):
        while self._on:
            self._most = max(self._most, resident('RssAnon'))
            time.sleep(0.002)


def build(arch: str):
    """A backbone with xlarge's shapes and whatever the memory holds: initialization would take a minute."""
    import torch

    from convnext_dense import layers

    with torch.device('meta'):
        model = layers.ConvNeXt(arch)
    model = model.to_empty(device='cpu')
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.5)
    return model


def prepare(arch: str, folder: Path) -> None:
    import torch

    from convnext_dense.checkpoints.read import write_checkpoint

    torch.manual_seed(0)
    weights = {name: torch.rand_like(value) for name, value in build(arch).state_dict().items()}
    torch.save(dict(model=weights), folder / 'weights.pth')
    write_checkpoint(weights, folder / 'weights.safetensors')


def work(job: str, source: str, arch: str, target: str) -> None:
    """One job, measured; prints the figures."""
    import numpy  # noqa: F401  (what is imported late would count)

    from convnext_dense.checkpoints import convert_state_dict, load_pretrained, read_checkpoint
    from convnext_dense.checkpoints.read import write_checkpoint

    model = build(arch) if job == 'load' else None
    if job == 'load':
        model.init_cfg = None
    with Watch() as watch:
        if job == 'read':
            weights = read_checkpoint(source)
        elif job == 'load':
            load_pretrained(model, dict(type='Pretrained', checkpoint=source))
        else:
            weights = convert_state_dict(read_checkpoint(source), to='timm')
            write_checkpoint(weights, target)
    print(watch.peak, watch.own, watch.seconds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--arch', default='xlarge')
    parser.add_argument(
        '--folder', help='where the files are written for as long as this runs (default: temporary)'
    )
    parser.add_argument('--work', nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        job, source, arch, target = args.work
        prepare(arch, Path(source)) if job == 'prepare' else work(job, source, arch, target)
        return 0
    worst = 0.0
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        _run('prepare', folder, args.arch, '-')
        size = Path(folder, 'weights.pth').stat().st_size / MB
        print(f'{args.arch}: file {size:,.0f} MB\n{"":34} peak            own              time')
        for suffix in ('.pth', '.safetensors'):
            for job, target in (
                ('read', '-'),
                ('load', '-'),
                ('convert', '.pth'),
                ('convert', '.safetensors'),
            ):
                output = str(Path(folder, f'out{target}'))
                peak, own, seconds = map(
                    float, _run(job, f'{folder}/weights{suffix}', args.arch, output).split()
                )
                name = f'{job} {suffix}' + (f" to timm's {target}" if job == 'convert' else '')
                print(
                    f'{name:34} {peak:6,.0f} MB {peak / size:4.2f}x  {own:6,.0f} MB {own / size:4.2f}x  '
                    f'{seconds:5.1f} s'
                )
                worst = max(worst, peak / size)
    print(f'highest: {worst:.2f} times the file; allowed: {LIMIT}')
    return int(worst > LIMIT)


def _run(*job: str) -> str:
    command = [sys.executable, __file__, '--work', *job]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == '__main__':
    sys.exit(main())
