"""The table of recipes in the docs, made from the configs themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

# The last word of a config's name: what the section is called, and what is said under its title.
SECTIONS = {
    'ade20k': (
        'ADE20K',
        'Expected and ours: mIoU on the validation set; `--tta`: six sizes and a flip, whole images.',
    ),
    'coco': (
        'COCO',
        'Expected and ours: AP on val2017. Names with `1x` are the same for 12 epochs.',
    ),
    'in1k': ('ImageNet-1k', 'Expected and ours: top-1 accuracy on the validation set.'),
    'in22k': ('ImageNet-22k', 'Pretraining: no score of its own.'),
    'nuclei': ('Nuclei', 'From random weights.'),
    'camvid': ('CamVid', 'From random weights.'),
    'sample': ('Drawn samples', 'Checks that everything works, in minutes on a CPU.'),
}
_SIZES = ('atto', 'femto', 'pico', 'nano', 't', 's', 'b', 'l', 'xl', 'h')
COLUMNS = (
    'config',
    'backbone',
    'weights',
    'length',
    'batch',
    'lr',
    'lr decay',
    'drop path',
    'numbers',
    'expected',
    'ours',
)


def format_recipes(paths: Sequence[Path]) -> str:
    """Markdown: a section for each data set, a row for each config of ``paths``.

    Settings come from the config, scores from its header: ``Expected: ... Ours: ...``, or ``Measured: ...``.

    Raises:
        ValueError: a config's name ends with no known data set, or its header has no scores.
    """
    rows: dict[str, list[tuple]] = {data: [] for data in SECTIONS}
    for path in sorted(paths, key=_get_rank):
        data = _name_data(path)
        if data not in SECTIONS:
            raise ValueError(
                f'{path}: a config is named <method>_<backbone>_<data>.py with data one of '
                f'{", ".join(SECTIONS)}; got {data!r}. A new data set needs a line in SECTIONS.'
            )
        rows[data].append(_make_row(path))
    parts = [
        f'## {title}\n\n{note}\n\n{_format_table(rows[data])}'
        for data, (title, note) in SECTIONS.items()
        if rows[data]
    ]
    return '\n\n'.join(parts) + '\n'


def read_scores(path: Path) -> tuple[str, str]:
    """What a config's header says is expected, and what was reached here."""
    header = re.sub(r'\s+', ' ', path.read_text(encoding='utf-8').split('"""')[1])
    if match := re.search(r'Expected: (.*?)\.? Ours: (.*?)\.?(?= [A-Z][a-z]+: |\s*$)', header):
        return match[1], match[2]
    if match := re.search(r'Measured: (.*?)\.?(?= [A-Z][a-z]+: |\s*$)', header):
        return '-', match[1]
    raise ValueError(f'{path}: the header must have "Expected: ... Ours: ..." or "Measured: ..."')


def _name_data(path: Path) -> str:
    return path.stem.rpartition('_')[2]


def _get_rank(path: Path) -> tuple:
    """Methods by name, V1 before V2, sizes from small to large, those with weights of ImageNet-22k last."""
    method, _, rest = path.stem.partition('convnext')
    size = next((i for i, size in enumerate(_SIZES) if f'_{size}_' in rest), -1)
    return method, '_v2_' in rest, size, '22k' in rest, path.stem


def _make_row(path: Path) -> tuple[str, ...]:
    cfg = Config.fromfile(path)
    backbone, wrapper = cfg.model.get('backbone', cfg.model), cfg.optim_wrapper
    arch = backbone.get('arch') or f'{backbone.type.lower()}{backbone.get("depth", "")}'
    paramwise = wrapper.get('paramwise_cfg') or {}
    rate = paramwise.get('decay_rate', 1.0)
    decay = '-' if rate == 1 else f'{paramwise.get("decay_type", "layer_wise")} {rate:g}'
    expected, ours = read_scores(path)
    return (
        f'[{path.stem}](../configs/{path.name})',
        str(arch),
        _name_weights(backbone),
        _name_length(cfg.train_cfg),
        str(_get_batch(cfg, _name_data(path))),
        f'{wrapper.optimizer.lr:g}',
        decay,
        f'{backbone.get("drop_path_rate", 0.0):g}',
        _name_numbers(wrapper),
        expected,
        ours,
    )


def _name_weights(backbone: dict) -> str:
    """'1k', '22k', ...: what the weights that a run starts from were trained on, '-' for random ones."""
    checkpoint = str((backbone.get('init_cfg') or {}).get('checkpoint', ''))
    match = re.search(r'_(1k|22k)_', checkpoint)
    return match[1] if match else Path(checkpoint).name or '-'


def _name_length(train_cfg: dict) -> str:
    epochs = train_cfg.get('max_epochs')
    return f'{epochs} epochs' if epochs else f'{train_cfg["max_iters"]:,} iterations'


def _get_batch(cfg: Config, data: str) -> int:
    """Images in a step of the optimizer, over all GPUs; the samples run in one process."""
    batch = (
        cfg.train_dataloader.batch_size if data == 'sample' else cfg.auto_scale_lr.base_batch_size
    )
    return batch * cfg.optim_wrapper.get('accumulative_counts', 1)


def _name_numbers(wrapper: dict) -> str:
    if wrapper.get('type') != 'AmpOptimWrapper':
        return 'fp32'
    return {'bfloat16': 'bf16'}.get(wrapper.get('dtype'), 'fp16')


def _format_table(rows: Sequence[tuple]) -> str:
    lines = [COLUMNS, ('---',) * len(COLUMNS), *rows]
    return '\n'.join(f'| {" | ".join(line)} |' for line in lines)
