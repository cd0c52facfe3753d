"""mmpretrain's names, which the files hosted by mmpretrain, mmdet, mmseg and mmrotate have."""

from convnext_dense.checkpoints.layouts.layout import Layout, make_rows
from convnext_dense.checkpoints.layouts.shapes import GRN_VECTOR, LINEAR

# Source: open-mmlab/mmpretrain mmpretrain/models/backbones/convnext.py:ConvNeXt @ v1.2.0.
_TRUNK = make_rows(
    ('downsample_layers.{i}.{k}.{p}', 'downsample_layers.{i}.{k}.{p}'),
    ('stages.{i}.{j}.depthwise_conv.{p}', 'stages.{i}.{j}.dwconv.{p}'),
    ('stages.{i}.{j}.norm.{p}', 'stages.{i}.{j}.norm.{p}'),
    ('stages.{i}.{j}.pointwise_conv1.{p}', 'stages.{i}.{j}.pwconv1.{p}', LINEAR),
    ('stages.{i}.{j}.grn.gamma', 'stages.{i}.{j}.grn.gamma', GRN_VECTOR),
    ('stages.{i}.{j}.grn.beta', 'stages.{i}.{j}.grn.beta', GRN_VECTOR),
    ('stages.{i}.{j}.pointwise_conv2.{p}', 'stages.{i}.{j}.pwconv2.{p}', LINEAR),
    ('stages.{i}.{j}.gamma', 'stages.{i}.{j}.gamma'),
)

# A classifier has one norm, after pooling, but names it like the output norm of the last stage.
MMPRETRAIN = Layout(
    'mmpretrain',
    "mmpretrain's classifiers",
    _TRUNK + make_rows(('norm3.{p}', 'norm.{p}')),
    outside=make_rows(('head.fc.{p}', 'head.{p}')),
    bases=('backbone.', ''),
    base_for=lambda has_grn, has_head: 'backbone.' if has_head else '',
    dense='mmpretrain_dense',
)

# A norm of an earlier stage, a neck, or a head other than a classifier's shows that the norms are
# applied to feature maps.
MMPRETRAIN_DENSE = Layout(
    'mmpretrain_dense',
    'mmpretrain.ConvNeXt in segmentors and detectors',
    _TRUNK
    + make_rows(
        ('norm{i}.{p}', 'norm{i}.{p}'),
        (None, 'norm.{p}', 'the norm after pooling, which a dense backbone does not have'),
        (None, 'head.{p}', 'a dense backbone has no classifier'),
    ),
    marker=r'(backbone\.)?norm[012]\.|(?!head\.)\w*(head|neck)\.',
)

LAYOUTS = (MMPRETRAIN, MMPRETRAIN_DENSE)
