"""UperNet's heads in other libraries' names: one literal table each, theirs -> mmseg's; '#' stands for a number."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Source: huggingface/transformers src/transformers/models/upernet/modeling_upernet.py @ 07a4af3; the same in v5.23.0.
TRANSFORMERS = {
    'decode_head.psp_modules.#.1.conv': 'decode_head.psp_modules.#.1.conv',
    'decode_head.psp_modules.#.1.batch_norm': 'decode_head.psp_modules.#.1.bn',
    'decode_head.bottleneck.conv': 'decode_head.bottleneck.conv',
    'decode_head.bottleneck.batch_norm': 'decode_head.bottleneck.bn',
    'decode_head.lateral_convs.#.conv': 'decode_head.lateral_convs.#.conv',
    'decode_head.lateral_convs.#.batch_norm': 'decode_head.lateral_convs.#.bn',
    'decode_head.fpn_convs.#.conv': 'decode_head.fpn_convs.#.conv',
    'decode_head.fpn_convs.#.batch_norm': 'decode_head.fpn_convs.#.bn',
    'decode_head.fpn_bottleneck.conv': 'decode_head.fpn_bottleneck.conv',
    'decode_head.fpn_bottleneck.batch_norm': 'decode_head.fpn_bottleneck.bn',
    'decode_head.classifier': 'decode_head.conv_seg',
    'auxiliary_head.convs.#.conv': 'auxiliary_head.convs.#.conv',
    'auxiliary_head.convs.#.batch_norm': 'auxiliary_head.convs.#.bn',
    'auxiliary_head.conv_cat.conv': 'auxiliary_head.conv_cat.conv',
    'auxiliary_head.conv_cat.batch_norm': 'auxiliary_head.conv_cat.bn',
    'auxiliary_head.classifier': 'auxiliary_head.conv_seg',
}

# Source: qubvel-org/segmentation_models.pytorch segmentation_models_pytorch/decoders/upernet/decoder.py and
# scripts/models-conversions/upernet-hf-to-smp.py @ 4f0324a. Its lateral and FPN lists start at the smallest map.
SMP = {
    'decoder.feature_norms.#': 'backbone.norm#',
    'decoder.psp.blocks.#.1.0': 'decode_head.psp_modules.#.1.conv',
    'decoder.psp.blocks.#.1.1': 'decode_head.psp_modules.#.1.bn',
    'decoder.psp.out_conv.0': 'decode_head.bottleneck.conv',
    'decoder.psp.out_conv.1': 'decode_head.bottleneck.bn',
    'decoder.fpn_lateral_blocks.0.conv_norm_relu.0': 'decode_head.lateral_convs.2.conv',
    'decoder.fpn_lateral_blocks.0.conv_norm_relu.1': 'decode_head.lateral_convs.2.bn',
    'decoder.fpn_lateral_blocks.1.conv_norm_relu.0': 'decode_head.lateral_convs.1.conv',
    'decoder.fpn_lateral_blocks.1.conv_norm_relu.1': 'decode_head.lateral_convs.1.bn',
    'decoder.fpn_lateral_blocks.2.conv_norm_relu.0': 'decode_head.lateral_convs.0.conv',
    'decoder.fpn_lateral_blocks.2.conv_norm_relu.1': 'decode_head.lateral_convs.0.bn',
    'decoder.fpn_conv_blocks.0.0': 'decode_head.fpn_convs.2.conv',
    'decoder.fpn_conv_blocks.0.1': 'decode_head.fpn_convs.2.bn',
    'decoder.fpn_conv_blocks.1.0': 'decode_head.fpn_convs.1.conv',
    'decoder.fpn_conv_blocks.1.1': 'decode_head.fpn_convs.1.bn',
    'decoder.fpn_conv_blocks.2.0': 'decode_head.fpn_convs.0.conv',
    'decoder.fpn_conv_blocks.2.1': 'decode_head.fpn_convs.0.bn',
    'decoder.fusion_block.0': 'decode_head.fpn_bottleneck.conv',
    'decoder.fusion_block.1': 'decode_head.fpn_bottleneck.bn',
    'segmentation_head.0': 'decode_head.conv_seg',
}

# The last layer of each head that mmseg, mmdet and our classifier have: its size is the number of classes.
FINAL_LAYERS = (
    'conv_seg',
    'fc_cls',
    'fc_reg',
    'conv_logits',
    'head',
    'atss_cls',
    'cls_branches',
    'cls_embed',
    'conv_cls',
    'retina_cls',
    'rtm_cls',
)
_ANCHORS = {'decode_head.classifier.weight': TRANSFORMERS, 'segmentation_head.0.weight': SMP}


def name_heads(keys: Iterable[str]) -> dict[str, str]:
    """{file key: mmseg's name} for a segmentor of transformers or smp; empty for any other file."""
    keys = list(keys)
    table = next((table for anchor, table in _ANCHORS.items() if anchor in keys), {})
    patterns = [
        (re.compile(re.escape(theirs).replace(r'\#', r'(\d+)')), ours)
        for theirs, ours in table.items()
    ]
    named = {}
    for key in keys:
        path, _, leaf = key.rpartition('.')
        for pattern, ours in patterns:
            if found := pattern.fullmatch(path):
                named[key] = (
                    f'{ours.replace("#", found[1])}.{leaf}' if '#' in ours else f'{ours}.{leaf}'
                )
    return named


def is_final_layer(key: str) -> bool:
    """Whether a weight belongs to the layer of a head that has one output (or four, for boxes) for each class."""
    return any(part in FINAL_LAYERS for part in key.split('.')[-3:-1])
