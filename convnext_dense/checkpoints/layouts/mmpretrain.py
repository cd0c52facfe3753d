"""mmpretrain's names, and so those of the files that mmpretrain, mmdet, mmseg and mmrotate host."""

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

# The classifier has one norm, behind the pooling, under the name of the last stage's.
MMPRETRAIN = Layout(
    'mmpretrain',
    "mmpretrain's classifiers",
    _TRUNK + make_rows(('norm3.{p}', 'norm.{p}')),
    outside=make_rows(('head.fc.{p}', 'head.{p}')),
    bases=('backbone.', ''),
    base_for=lambda has_grn, has_head: 'backbone.' if has_head else '',
    dense='mmpretrain_dense',
)

# A norm before the last stage, or any head or neck but a classifier's, shows that the norms see maps.
MMPRETRAIN_DENSE = Layout(
    'mmpretrain_dense',
    'mmpretrain.ConvNeXt in segmentors and detectors',
    _TRUNK
    + make_rows(
        ('norm{i}.{p}', 'norm{i}.{p}'),
        (None, 'norm.{p}', 'the norm behind the pooling; a dense backbone has none'),
        (None, 'head.{p}', 'a dense backbone has no classifier'),
    ),
    marker=r'(backbone\.)?norm[012]\.|(?!head\.)\w*(head|neck)\.',
)

LAYOUTS = (MMPRETRAIN, MMPRETRAIN_DENSE)
