"""Our backbone against every library's on this machine's CPU: tiny, one image of 512 x 512, fp32.

    python benchmarks/cpu.py [--repeat 3] [--rounds 3] [--out work_dirs/benchmark_cpu]

Every peer channels_first and channels_last, eager and compiled, and our modes, interleaved, each in a fresh process;
each repetition starts fresh ones. Prints the tables and whether the goals are met; writes JSON, tables and bars.
Compiling takes a minute or two for each network and mode the first time, then torch finds it in its cache. Idle
processes wait with 0.6 to 0.8 GB each, 30 of them: 25 GB of free memory; with less they are measured in groups. Exit
status 1: a goal is missed.

Ours is the fastest of our modes; 'library default' the fastest of the libraries as they come: eager, in the better
memory format, and timm without conv_mlp.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # works from a checkout that is not installed

import convnext_dense  # noqa: E402, F401  (first: it stands in for mmcv's compiled ops)
from convnext_dense.benchmark import networks, outputs, plan, report  # noqa: E402
from convnext_dense.benchmark.compare import Result, measure  # noqa: E402

# mode -> how many times as fast as the fastest library default, and as the fastest peer of all
GOALS = {'forward': (1.9, 1.05), 'train': (1.5, 1.0)}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--mode', nargs='+', default=list(GOALS), choices=GOALS)
    parser.add_argument(
        '--networks', nargs='+', default=['all'], metavar='NAME', help='as in tools/benchmark.py'
    )
    parser.add_argument('--arch', default='tiny')
    parser.add_argument('--shape', default='1x3x512x512')
    parser.add_argument(
        '--compiled',
        nargs='*',
        default=list(plan.FORMATS),
        choices=plan.FORMATS,
        help='memory formats in which the peers are also compiled (default: both); none: eager alone, '
        'minutes in place of half an hour',
    )
    parser.add_argument('--malloc', default='default', choices=plan.MALLOCS)
    parser.add_argument('--threads', type=int)
    parser.add_argument(
        '--rounds', type=int, default=3, help='in each repetition, of two runs each (default: 3)'
    )
    parser.add_argument(
        '--repeat', type=int, default=1, help='repetitions with fresh processes (default: 1)'
    )
    parser.add_argument('--out', type=Path, default=Path('work_dirs/benchmark_cpu'))
    return parser.parse_args()


def list_candidates(names: list[str], mode: str, compiled: list[str]) -> list[plan.Candidate]:
    """Every peer in every form; of ours each mode as it is meant to be used, and the default channels_first too."""
    libraries = [name for name in names if name in networks.PEERS]
    candidates = plan.list_candidates(libraries, mode=mode)
    candidates += plan.list_candidates(libraries, compiled, ['default'], mode)
    candidates += plan.list_candidates(
        [name for name in names if name not in libraries], ['channels_last'], mode=mode
    )
    candidates += [plan.Candidate('ours', 'channels_first')] if 'ours' in names else []
    candidates += (
        [plan.Candidate('ours plain', compile='default')]
        if compiled and 'ours plain' in names
        else []
    )
    return candidates


def compare(results: list[Result]) -> tuple[float, float]:
    """Time of the fastest library default, and of the fastest peer, over that of our fastest mode."""
    done = [r for r in results if r.seconds]
    libraries = [r for r in done if r.candidate.is_peer]
    defaults = [
        r.median
        for r in libraries
        if not r.candidate.compile and r.candidate.name != 'timm conv_mlp'
    ]
    if not defaults or len(libraries) == len(done):
        sys.exit(
            'error: nothing to compare: no library as it comes, or none of ours, was measured; see the table'
        )
    ours = min(r.median for r in done if not r.candidate.is_peer)
    return min(defaults) / ours, min(r.median for r in libraries) / ours


def pool(repetitions: list[list[Result]]) -> list[Result]:
    """One result for each candidate: the medians of the repetitions in place of single runs, memory of the last."""
    return [
        replace(same[-1], seconds=[r.median for r in same if r.seconds])
        for same in zip(*repetitions)
    ]


def main() -> int:
    args = parse_args()
    try:
        plan.check(args.arch, rounds=min(args.rounds, args.repeat), threads=args.threads)
        names, shape, met = plan.choose(args.networks), plan.parse_shape(args.shape), True
        plan.check_modes([name for name in names if name in networks.OURS], args.mode)
        if {'timm conv_mlp', *networks.OURS} >= set(names) or not set(names) & set(networks.OURS):
            raise plan.ConfigError(
                "a comparison needs a library's default and one of ours: --networks timm ours"
            )
        outputs.make_folder(args.out)
    except plan.ConfigError as error:
        sys.exit(f'error: {error}')
    for mode in args.mode:
        setup = plan.Setup(
            args.arch, shape, mode, threads=args.threads, malloc=args.malloc, untimed=1, timed=2
        )
        candidates = list_candidates(names, mode, args.compiled)
        repetitions = []
        for i in range(args.repeat):
            repetitions.append(measure(candidates, setup, args.rounds, log=report.log))
            outputs.write_comparison(repetitions[-1], args.out / f'run{i + 1}')
        outputs.write_comparison(pool(repetitions), args.out)
        print((args.out / f'{mode}.md').read_text(encoding='utf-8'))
        labels = ('fastest library default', 'fastest peer')
        for label, goal, ratios in zip(labels, GOALS[mode], zip(*map(compare, repetitions))):
            ratio = statistics.median(ratios)
            met &= ratio >= goal
            print(
                f'{mode} against {label}: {ratio:.2f}x ({" ".join(f"{r:.2f}" for r in ratios)}), goal {goal}x '
                f'{"met" if ratio >= goal else "MISSED"}'
            )
        print(flush=True)
    return int(not met)


if __name__ == '__main__':
    sys.exit(main())
