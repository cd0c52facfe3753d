"""The authors' names, which are ours: ConvNeXt, ConvNeXt V2, DINOv3, V2's sparse pretraining."""

from convnext_dense.checkpoints.layouts.layout import Layout, make_rows
from convnext_dense.checkpoints.layouts.shapes import DEPTHWISE_KERNEL, GRN, GRN_ROW, KERNEL, ROW

_TRUNK = make_rows(
    ('downsample_layers.{i}.{k}.{p}', 'downsample_layers.{i}.{k}.{p}'),
    ('stages.{i}.{j}.dwconv.{p}', 'stages.{i}.{j}.dwconv.{p}'),
    ('stages.{i}.{j}.norm.{p}', 'stages.{i}.{j}.norm.{p}'),
    ('stages.{i}.{j}.pwconv1.{p}', 'stages.{i}.{j}.pwconv1.{p}'),
    ('stages.{i}.{j}.pwconv2.{p}', 'stages.{i}.{j}.pwconv2.{p}'),
    ('stages.{i}.{j}.gamma', 'stages.{i}.{j}.gamma'),
)

# Source: facebookresearch/ConvNeXt models/convnext.py and
# semantic_segmentation/backbone/convnext.py @ 048efce; facebookresearch/ConvNeXt-V2
# models/convnextv2.py @ 2553895. The released FCMAE files have this layout too.
FACEBOOK = Layout(
    'facebook',
    "ours, and the authors' V1 and V2: classifiers, FCMAE as released, segmentors, detectors",
    _TRUNK
    + make_rows(
        ('stages.{i}.{j}.grn.gamma', 'stages.{i}.{j}.grn.gamma', GRN),
        ('stages.{i}.{j}.grn.beta', 'stages.{i}.{j}.grn.beta', GRN),
        ('norm.{p}', 'norm.{p}'),
        ('head.{p}', 'head.{p}'),
        ('norm{i}.{p}', 'norm{i}.{p}'),
    ),
)

# Source: facebookresearch/dinov3 dinov3/models/convnext.py @ 6876159. One norm is applied to the
# pooled vector and to the last feature map; its file stores that norm under two names.
DINOV3 = Layout(
    'dinov3',
    "DINOv3's ConvNeXt",
    _TRUNK
    + make_rows(
        ('norm.{p}', 'norm.{p}'),
        ('norms.3.{p}', 'norm3.{p}'),
        ('norms.3.{p}', 'norm.{p}'),
        (None, 'norm{i}.{p}', 'DINOv3 has no norms before the last stage'),
        (None, 'head.{p}', 'DINOv3 has no classifier'),
    ),
    marker=r'norms\.3\.',
)

_DECODER = 'part of the decoder, which is not used after pretraining'
# Source: facebookresearch/ConvNeXt-V2 models/convnextv2_sparse.py, models/fcmae.py,
# utils.py:remap_checkpoint_keys @ 2553895. The stem is dense, all other layers MinkowskiEngine's.
FCMAE = Layout(
    'fcmae',
    'what FCMAE pretraining writes (sparse layers)',
    make_rows(
        ('downsample_layers.0.{k}.{p}', 'downsample_layers.0.{k}.{p}'),
        ('downsample_layers.{d}.0.ln.{p}', 'downsample_layers.{d}.0.{p}'),
        ('downsample_layers.{d}.1.kernel', 'downsample_layers.{d}.1.weight', KERNEL),
        ('downsample_layers.{d}.1.bias', 'downsample_layers.{d}.1.bias', ROW),
        ('stages.{i}.{j}.dwconv.kernel', 'stages.{i}.{j}.dwconv.weight', DEPTHWISE_KERNEL),
        ('stages.{i}.{j}.dwconv.bias', 'stages.{i}.{j}.dwconv.bias', ROW),
        ('stages.{i}.{j}.norm.ln.{p}', 'stages.{i}.{j}.norm.{p}'),
        ('stages.{i}.{j}.pwconv1.linear.{p}', 'stages.{i}.{j}.pwconv1.{p}'),
        ('stages.{i}.{j}.grn.gamma', 'stages.{i}.{j}.grn.gamma', GRN_ROW),
        ('stages.{i}.{j}.grn.beta', 'stages.{i}.{j}.grn.beta', GRN_ROW),
        ('stages.{i}.{j}.pwconv2.linear.{p}', 'stages.{i}.{j}.pwconv2.{p}'),
        (None, 'norm.{p}', 'FCMAE has no final norm'),
        (None, 'head.{p}', 'FCMAE has no classifier'),
        (None, 'norm{i}.{p}', 'FCMAE has no output norms'),
    ),
    outside=make_rows(
        ('mask_token', None, _DECODER),
        ('proj.{p}', None, _DECODER),
        ('pred.{p}', None, _DECODER),
        ('decoder.{j}.dwconv.{p}', None, _DECODER),
        ('decoder.{j}.norm.{p}', None, _DECODER),
        ('decoder.{j}.pwconv1.{p}', None, _DECODER),
        ('decoder.{j}.grn.gamma', None, _DECODER),
        ('decoder.{j}.grn.beta', None, _DECODER),
        ('decoder.{j}.pwconv2.{p}', None, _DECODER),
    ),
    bases=('encoder.', ''),
    base_for=lambda has_grn, has_head: 'encoder.',
)

LAYOUTS = (FACEBOOK, DINOV3, FCMAE)
