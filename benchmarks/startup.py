"""What importing the package and building tiny take beyond torch's own import: medians of fresh processes.

    python benchmarks/startup.py [--repeat 7]

Goals: importing ``convnext_dense`` < 0.3 s, building tiny < 0.3 s, neither brings a compiler along, and nothing is
compiled: the compilers' caches, empty at the start, stay empty. Also, without a goal, what ``from convnext_dense import
ConvNeXt`` takes: timm, mmengine, and torchvision, which imports torch's compiler. Exit status 1: a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOALS = {'import convnext_dense': 0.3, 'ConvNeXt("tiny")': 0.3}

# torch first, so that its own import does not count.
CODE = """
import json, sys, time
import torch
steps = {}
for line in ('import convnext_dense', 'from convnext_dense import ConvNeXt', 'ConvNeXt("tiny")'):
    before, start = set(sys.modules), time.perf_counter()
    exec(line)
    seconds = time.perf_counter() - start
    compilers = ('triton', 'torch._inductor', 'torch._dynamo', 'torch.utils.cpp_extension')
    steps[line] = seconds, [name for name in compilers if name in sys.modules and name not in before]
print(json.dumps(steps))
"""
CACHES = ('TRITON_CACHE_DIR', 'TORCHINDUCTOR_CACHE_DIR', 'TORCH_EXTENSIONS_DIR')


def run_once() -> tuple[dict[str, list], bool]:
    """{line: [seconds, compilers that it imported]} of a fresh process, and whether anything was compiled."""
    with tempfile.TemporaryDirectory() as folder:
        paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
        environment = os.environ | dict.fromkeys(CACHES, folder) | dict(PYTHONPATH=paths)
        run = subprocess.run(
            [sys.executable, '-c', CODE],
            env=environment,
            check=True,
            text=True,
            stdout=subprocess.PIPE,
        )
        return json.loads(run.stdout.splitlines()[-1]), any(Path(folder).iterdir())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--repeat', type=int, default=7, help='fresh processes (default: 7)')
    args = parser.parse_args()
    runs = [run_once() for _ in range(args.repeat)]
    met = not any(compiled for _, compiled in runs)
    for line in runs[0][0]:
        median = statistics.median(steps[line][0] for steps, _ in runs)
        brought = ', '.join(sorted({name for steps, _ in runs for name in steps[line][1]}))
        goal = GOALS.get(line)
        is_met = goal is None or (median < goal and not brought)
        met &= is_met
        verdict = (
            ''
            if goal is None
            else f'goal < {goal} s and no compiler: {"met" if is_met else "MISSED"}'
        )
        print(f'{line:35} {median:6.3f} s   brings {brought or "no compiler":38} {verdict}')
    print(f'something compiled: {any(compiled for _, compiled in runs)}')
    return int(not met)


if __name__ == '__main__':
    sys.exit(main())
