"""Which layer a ConvNeXt parameter belongs to, and how much of the learning rate that layer gets.

::

    lr_scale = decay_rate ** (num_layers + 1 - layer_id)          layer_id in 0..num_layers + 1

With S stages of depths d[0]..d[S-1], for stage i and its block j, counted from 0:

============  =======  =====================  ============================================  =======================
decay_type    stem     downsample_layers.i    stages.i.j                                    num_layers
============  =======  =====================  ============================================  =======================
layer_wise    0        as block 0 of stage i  i + 1, and i + 1 + j // 3 in stage S - 2;     S - 1 + ceil(d[S-2] / 3)
                                              num_layers in the last stage
stage_wise    0        0                      i + 1                                         as layer_wise
block_wise    1        as block 0 of stage i  d[0] + ... + d[i-1] + j + 1                   d[0] + ... + d[S-1]
============  =======  =====================  ============================================  =======================

Everything else (output norms, ``norm``, ``head``, necks and heads) has layer id num_layers + 1 and lr_scale 1.
In ``stage_wise`` no layer has the ids S + 1..num_layers: the authors' rates jump there, and so do these.

Source: facebookresearch/ConvNeXt object_detection/mmcv_custom/layer_decay_optimizer_constructor.py and
optim_factory.py @ 048efce; facebookresearch/ConvNeXt-V2 optim_factory.py @ 2553895, whose 'group' is ``layer_wise``
and 'single' is ``block_wise`` (its stem shares the first block's layer).
Differs: the authors take num_layers (6 or 12) from the user and support four stages; here it follows from the depths
and the stage cut into groups of three blocks is the last but one, whatever their number. One stage is one layer.
"""

from __future__ import annotations

from collections.abc import Sequence

DECAY_TYPES = ('layer_wise', 'stage_wise', 'block_wise')
_BLOCKS_PER_LAYER = 3


def get_num_layers(depths: Sequence[int], decay_type: str) -> int:
    """Number of layers that ``decay_type`` divides a trunk of ``depths`` into, see the table above.

    (3, 3, 9, 3) gives 6 and (3, 3, 27, 3) gives 12 for layer_wise and stage_wise; 18 and 36 for block_wise.

    Raises:
        ValueError: ``decay_type`` is unknown.
    """
    check_decay_type(decay_type)
    if decay_type == 'block_wise':
        return sum(depths)
    if len(depths) == 1:
        return 1
    return len(depths) - 1 + -(-depths[-2] // _BLOCKS_PER_LAYER)


def get_layer_id(name: str, depths: Sequence[int], decay_type: str) -> int:
    """Layer of a parameter, in 0..num_layers + 1.

    Args:
        name: relative to the backbone, as ``stages.2.4.dwconv.weight``.
        depths: blocks in every stage of the whole architecture, also of stages that are not built.
        decay_type: one of ``DECAY_TYPES``.

    Raises:
        ValueError: ``decay_type`` is unknown, or ``name`` is in ``stages`` or ``downsample_layers`` and does not name
            a stage and block that ``depths`` has.
    """
    num_layers = get_num_layers(depths, decay_type)
    section = name.split('.')[0]
    if section not in ('downsample_layers', 'stages'):
        return num_layers + 1
    is_block = section == 'stages'
    stage, block = _parse(name, depths, is_block)
    if decay_type == 'block_wise':
        return sum(depths[:stage]) + block + 1
    if not is_block and (stage == 0 or decay_type == 'stage_wise'):
        return 0
    return (
        stage + 1
        if decay_type == 'stage_wise'
        else _layer_wise_id(stage, block, depths, num_layers)
    )


def get_lr_scale(layer_id: int, num_layers: int, decay_rate: float) -> float:
    """decay_rate ** (num_layers + 1 - layer_id): 1 after the last layer, least at the stem."""
    return decay_rate ** (num_layers + 1 - layer_id)


def check_decay_type(decay_type: str) -> None:
    if decay_type not in DECAY_TYPES:
        raise ValueError(
            f'decay_type must be one of {", ".join(map(repr, DECAY_TYPES))}; got {decay_type!r}'
        )


def check_num_layers(num_layers: int | None, depths: Sequence[int], decay_type: str) -> int:
    """The number of layers, and a check of what the user gave (None: nothing).

    Raises:
        ValueError: ``num_layers`` is given and is not what the depths say: every learning rate would be wrong.
    """
    right = get_num_layers(depths, decay_type)
    if num_layers is not None and num_layers != right:
        raise ValueError(
            f'num_layers={num_layers!r} contradicts the backbone: depths {tuple(depths)} with '
            f'decay_type={decay_type!r} make num_layers={right}. Write {right}, or leave num_layers out.'
        )
    return right


def _layer_wise_id(stage: int, block: int, depths: Sequence[int], num_layers: int) -> int:
    last = len(depths) - 1
    if stage == last:
        return num_layers
    return stage + 1 + (block // _BLOCKS_PER_LAYER if stage == last - 1 else 0)


def _parse(name: str, depths: Sequence[int], is_block: bool) -> tuple[int, int]:
    """Stage and block of a name; a downsampling layer counts as block 0 of its stage."""
    parts = name.split('.')
    try:
        stage, block = int(parts[1]), int(parts[2]) if is_block else 0
        known = 0 <= stage < len(depths) and 0 <= block < depths[stage]
    except (IndexError, ValueError):
        known = False
    if not known:
        raise ValueError(
            f'cannot tell the layer of parameter {name!r}: expected downsample_layers.<stage>.* or '
            f'stages.<stage>.<block>.* with a stage and block that depths {tuple(depths)} have'
        )
    return stage, block
