"""What ``training_modes.py`` makes of its runs: differences to the references, the verdict, table and picture."""

from __future__ import annotations

import statistics
from pathlib import Path

import numpy as np

LIMIT = 3.0  # times the noise
COLUMNS = (
    'run',
    'ms / iteration',
    'run s',
    'last loss',
    'first',
    'mean',
    'largest',
    'end',
    'x noise',
)


def compare(loss: list[float], reference: list[float]) -> dict[str, float]:
    """Relative differences: first, mean and largest of all iterations, and of the means of the last eighth ('end')."""
    a, b = np.array(loss), np.array(reference)
    difference, tail = np.abs(a - b) / np.abs(b), max(len(a) // 8, 1)
    end = abs(a[-tail:].mean() / b[-tail:].mean() - 1)
    return dict(first=difference[0], mean=difference.mean(), largest=difference.max(), end=end)


def judge(results: dict[str, dict]) -> bool:
    """Write into each result its differences and their ratio to the yardsticks'; whether all is as it should be."""
    for run, result in results.items():
        result['difference'] = compare(result['loss'], results[f'{run[:4]} plain']['loss'])
    for run, result in results.items():
        yardsticks = [one for one in results if one.startswith(f'{run[:4]} plain,')]
        noise = max((results[one]['difference']['mean'] for one in yardsticks), default=0.0)
        is_mode = 'plain' not in run and noise > 0
        result['ratio'] = result['difference']['mean'] / noise if is_mode else None
    same_numbers = len({result['random'] for result in results.values()}) == 1
    judged = {
        run: r['ratio']
        for run, r in results.items()
        if r['ratio'] is not None and 'residual' not in run
    }
    same_curves = all(ratio <= LIMIT for ratio in judged.values())
    print(f'random numbers: {"the same" if same_numbers else "DIFFERENT"} in all runs')
    print(
        f'{"within" if same_curves else "NOT WITHIN"} {LIMIT:g}x the noise: {", ".join(judged) or "nothing judged"}'
    )
    return same_numbers and same_curves


def make_row(result: dict) -> tuple[str, ...]:
    ratio = '-' if result['ratio'] is None else f'{result["ratio"]:.2f}'
    return (
        result['run'],
        f'{1e3 * statistics.median(result["seconds"]):.0f}',
        f'{result["total"]:.0f}',
        f'{np.mean(result["loss"][-max(len(result["loss"]) // 8, 1) :]):.4f}',
        *(f'{value:.1e}' for value in result['difference'].values()),
        ratio,
    )


def draw(results: dict[str, dict], path: Path) -> None:
    """PNG: the curves, each a mean over 10 iterations, and the difference of every iteration, logarithmic."""
    from matplotlib.figure import Figure  # draws with Agg

    dtypes = [dtype for dtype in ('fp32', 'bf16') if f'{dtype} plain' in results]
    figure = Figure(figsize=(13, 4 * len(dtypes)), layout='constrained')
    for axes, dtype in zip(figure.subplots(len(dtypes), 2, squeeze=False), dtypes):
        for i, run in enumerate(run for run in results if run.startswith(dtype)):
            loss, reference = (np.array(results[one]['loss']) for one in (run, f'{dtype} plain'))
            window = min(10, len(loss))
            dashes = '--' if 'plain,' in run else '-'
            style = dict(label=run, color=f'C{i}', linewidth=1, linestyle=dashes)
            axes[0].plot(np.convolve(loss, np.ones(window) / window, 'valid'), **style)
            if run != f'{dtype} plain':
                axes[1].semilogy(
                    np.maximum(np.abs(loss / reference - 1), 1e-9), **style
                )  # 0 has no logarithm
        axes[0].set(ylabel='loss, mean of 10 iterations', xlabel='iteration')
        axes[1].set(ylabel=f'relative difference to {dtype} plain', xlabel='iteration')
        axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
