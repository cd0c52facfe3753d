"""The last lines of a run: its scores, and where its files are."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import master_only
from mmengine.runner import Runner

# mmdet reports COCO's average precision as a share of 1; papers write it in percent.
_COCO_NAMES = {
    'coco/bbox_mAP': 'box AP',
    'coco/bbox_mAP_50': 'box AP50',
    'coco/bbox_mAP_75': 'box AP75',
    'coco/segm_mAP': 'mask AP',
    'coco/segm_mAP_50': 'mask AP50',
    'coco/segm_mAP_75': 'mask AP75',
}


def get_last_scores(runner: Runner, split: str = 'val') -> dict[str, float]:
    """Return the last scores of ``split``, 'val' or 'test', under the names of its metrics."""
    prefix = f'{split}/'
    scores = {}
    for name, buffer in runner.message_hub.log_scalars.items():
        if name.startswith(prefix) and not name.endswith('time'):
            scores[name.removeprefix(prefix)] = buffer.current()
    return scores


@master_only
def print_summary(runner: Runner, split: str = 'val') -> None:
    """Print the last scores of ``split``, 'val' or 'test', and where the files of the run are."""
    scores = _name_as_in_papers(get_last_scores(runner, split))
    listed = '  '.join(f'{name} {value:.2f}' for name, value in scores.items())
    print(f'\nDone. {listed or "No scores: nothing was found, or nothing was evaluated"}')

    hub = runner.message_hub
    _print_place('last checkpoint', hub.get_info('last_ckpt'))
    _print_place('best checkpoint', hub.get_info('best_ckpt'))
    folder = Path(runner.work_dir, 'pictures')
    count = len(list(folder.glob('*.png')))
    if count:
        _print_place('pictures', f'{count} in {folder}: image, ground truth, prediction')
    _print_place('log', Path(runner.log_dir) / f'{runner.timestamp}.log')


def _name_as_in_papers(scores: dict[str, float]) -> dict[str, float]:
    """Return COCO's average precisions alone, in percent, if there are any; else all scores."""
    named = {}
    for name, value in scores.items():
        if name in _COCO_NAMES:
            named[_COCO_NAMES[name]] = 100 * value
    return named or scores


def _print_place(title: str, place: object) -> None:
    if place:
        print(f'{title:16} {place}')
