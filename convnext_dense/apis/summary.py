"""The last lines of a run: its scores, and where everything is."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import master_only
from mmengine.runner import Runner

# mmdet's names of COCO's average precisions, shares of 1, and what they are called in papers, in percent.
_COCO = {
    f'coco/{kind}_mAP{threshold}': f'{name} AP{threshold.removeprefix("_")}'
    for kind, name in (('bbox', 'box'), ('segm', 'mask'))
    for threshold in ('', '_50', '_75')
}


def _name_scores(scores: dict[str, float]) -> dict[str, float]:
    """COCO's precisions alone, as papers write them, where there are any; else every score as it is."""
    return {_COCO[name]: 100 * value for name, value in scores.items() if name in _COCO} or scores


def get_last_scores(runner: Runner, split: str = 'val') -> dict[str, float]:
    """What the metrics of ``split`` ('val' or 'test') gave last, by their own names."""
    prefix = f'{split}/'
    return {
        name.removeprefix(prefix): buffer.current()
        for name, buffer in runner.message_hub.log_scalars.items()
        if name.startswith(prefix) and not name.endswith('time')
    }


@master_only
def print_summary(runner: Runner, split: str = 'val') -> None:
    """Print the last scores of ``split`` ('val' or 'test'), the checkpoints and the folder of pictures."""
    hub = runner.message_hub
    scores = get_last_scores(runner, split)
    named = '  '.join(f'{name} {value:.2f}' for name, value in _name_scores(scores).items())
    print(f'\nDone. {named or "No scores: nothing was found, or nothing was evaluated"}')
    for title, key in (('last checkpoint', 'last_ckpt'), ('best checkpoint', 'best_ckpt')):
        if hub.get_info(key):
            print(f'{title:16} {hub.get_info(key)}')
    pictures = list(Path(runner.work_dir, 'pictures').glob('*.png'))
    if pictures:
        print(
            f'{"pictures":16} {len(pictures)} in {pictures[0].parent}: image, ground truth, prediction'
        )
    print(f'{"log":16} {Path(runner.log_dir) / (runner.timestamp + ".log")}')
