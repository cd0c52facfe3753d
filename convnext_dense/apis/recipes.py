"""The page of recipes, made from the configs and the metafiles beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml
from mmengine.config import Config

PAGE_HEAD = """# Recipes

All configs of this project. The page is made from the configs and from `configs/metafile_*.yml`,
which also name the papers and the authors' configs: `convnext-dense recipes --write` updates it.

- **weights**: what the weights that a run starts from were trained on; `-` for random weights.
- **batch**: images in one step of the optimizer, as GPUs x images x accumulated batches.
- **cost**: parameters, and multiply-adds as counted by the authors of ConvNeXt.
- **published**: scores of the authors of ConvNeXt, or what we aim at. **ours**: measured here.
"""
_COLUMNS = (
    'config',
    'backbone',
    'weights',
    'length',
    'batch',
    'lr',
    'lr decay',
    'drop path',
    'precision',
    'cost',
    'published',
    'ours',
)


def read_metafiles(configs: Path) -> list[dict]:
    """Read all ``metafile_*.yml`` in the folder ``configs``, in the order of their names.

    A metafile has the format of OpenMMLab's model index (``Collections``, ``Models``), and for a
    section of the page ``Title``, ``Note``, ``Train`` and ``Test``. Besides the usual keys a model
    has ``Expected`` (a text instead of ``Results``) and ``Measured`` (our own scores).
    """
    paths = sorted(configs.glob('metafile_*.yml'))
    return [yaml.safe_load(path.read_text(encoding='utf-8')) for path in paths]


def format_page(configs: Path) -> str:
    """Write the page of recipes in Markdown: one section per metafile, one row per config."""
    sections = [_format_section(metafile, configs) for metafile in read_metafiles(configs)]
    return '\n'.join([PAGE_HEAD, *sections])


def format_list(configs: Path) -> str:
    """Write the name, published scores and own scores of all configs as plain text."""
    lines = []
    for metafile in read_metafiles(configs):
        lines.append(f'{metafile["Title"]}')
        for model in metafile['Models']:
            lines.append(f'  {model["Name"]}')
            lines.append(f'      published: {format_scores(model)}')
            lines.append(f'      ours: {model["Measured"]}')
    return '\n'.join(lines) + '\n'


def format_scores(model: dict) -> str:
    """Write the published scores of a metafile's model, as ``box AP 46.2, mask AP 41.7``."""
    scores = []
    for result in model.get('Results', []):
        for metric, value in result['Metrics'].items():
            scores.append(f'{metric} {value}')
    return ', '.join(scores) or model.get('Expected', '-')


def _format_section(metafile: dict, configs: Path) -> str:
    commands = [metafile['Train']]
    if 'Test' in metafile:
        commands.append(metafile['Test'])
    lines = [f'## {metafile["Title"]}', '', metafile['Note'].strip(), '']
    lines += ['```bash', *commands, '```', '']
    lines += [_format_row(_COLUMNS), _format_row(['---'] * len(_COLUMNS))]
    for model in metafile['Models']:
        lines.append(_format_row(_make_cells(model, configs)))
    return '\n'.join([*lines, ''])


def _format_row(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _make_cells(model: dict, configs: Path) -> list[str]:
    """Make the cells of one row, in the order of ``_COLUMNS``."""
    path = configs / Path(model['Config']).name
    cfg = Config.fromfile(path)
    backbone = cfg.model.get('backbone', cfg.model)
    wrapper = cfg.optim_wrapper
    return [
        f'[{model["Name"]}](../{model["Config"]})',
        _describe_arch(backbone),
        _describe_weights(backbone),
        _describe_length(cfg.train_cfg),
        _describe_batch(cfg),
        f'{wrapper.optimizer.lr:g}',
        _describe_decay(wrapper.get('paramwise_cfg', {})),
        f'{backbone.get("drop_path_rate", 0.0):g}',
        _describe_precision(wrapper),
        ', '.join(model.get('Metadata', {}).values()) or '-',
        format_scores(model),
        model['Measured'],
    ]


def _describe_arch(backbone: dict) -> str:
    """The arch of a ConvNeXt, as ``tiny``, or type and depth of another backbone: ``resnet50``."""
    if 'arch' in backbone:
        return backbone['arch']
    return f'{backbone["type"].lower()}{backbone["depth"]}'


def _describe_weights(backbone: dict) -> str:
    """``1k`` or ``22k`` for weights of ImageNet-1k or ImageNet-22k, the file's name for others."""
    if 'init_cfg' not in backbone:
        return '-'
    name = Path(backbone['init_cfg']['checkpoint']).name
    for data in ('22k', '1k'):
        if f'_{data}_' in name:
            return data
    return name


def _describe_length(train_cfg: dict) -> str:
    if 'max_epochs' in train_cfg:
        return f'{train_cfg["max_epochs"]} epochs'
    return f'{train_cfg["max_iters"]:,} iterations'


def _describe_batch(cfg: Config) -> str:
    """``4096 = 8 x 128 x 4``: total, GPUs, images of a GPU, accumulated batches."""
    images = cfg.train_dataloader.batch_size
    gpus = cfg.auto_scale_lr.base_batch_size // images
    accumulated = cfg.optim_wrapper.get('accumulative_counts', 1)
    factors = f'{gpus} x {images}'
    if accumulated > 1:
        factors += f' x {accumulated}'
    return f'{gpus * images * accumulated} = {factors}'


def _describe_decay(paramwise_cfg: dict) -> str:
    rate = paramwise_cfg.get('decay_rate', 1.0)
    if rate == 1.0:
        return '-'
    return f'{paramwise_cfg["decay_type"]} {rate:g}'


def _describe_precision(optim_wrapper: dict) -> str:
    if optim_wrapper['type'] != 'AmpOptimWrapper':
        return 'fp32'
    if optim_wrapper.get('dtype') == 'bfloat16':
        return 'bf16'
    return 'fp16'
