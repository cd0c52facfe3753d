"""The trunk of a ConvNeXt (stem, downsampling layers, stages) as its weights show it.

Names are ours: see ``layouts/facebook.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from convnext_dense.variants import VARIANTS

Shapes = dict[str, tuple[int, ...]]

STEM = 'downsample_layers.0.0.weight'
_PART = re.compile(r'(downsample_layers|stages|norm[0-9]+)\.')
_BLOCK = re.compile(r'stages\.([0-9])\.([0-9]{1,4})\.(.+)')

# timm's test models. Source: huggingface/pytorch-image-models timm/models/convnext.py @ v1.0.31.
_TEST_MODEL_EPS: dict[tuple[tuple[int, ...], tuple[int, ...]], float] = {
    ((1, 2, 4, 2), (24, 32, 48, 64)): 1e-5,
    ((1, 1, 1, 1), (32, 64, 96, 128)): 1e-5,
}


@dataclass(frozen=True)
class Trunk:
    """What decides the names and shapes of a trunk's weights.

    Args:
        depths: number of blocks of each stage.
        dims: number of channels of each stage.
        use_grn: the blocks have global response normalization (V2).
        use_gamma: the blocks have layer scale (V1).
        in_channels: channels of the image.
    """

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    use_grn: bool
    use_gamma: bool
    in_channels: int = 3

    @property
    def variant(self) -> str | None:
        """Name of the variant with these depths and widths, None if there is no such variant."""
        for name, variant in VARIANTS.items():
            sizes = (variant.depths, variant.dims, variant.use_grn)
            if sizes == (self.depths, self.dims, self.use_grn):
                return name
        return None

    @property
    def arch(self) -> str:
        """'tiny (3, 3, 9, 3), (96, 192, 384, 768)', or only the numbers if no variant has them."""
        sizes = f'{self.depths}, {self.dims}'
        return f'{self.variant} {sizes}' if self.variant else sizes

    @property
    def norm_eps(self) -> float:
        """Epsilon of LayerNorm in the published networks of this size."""
        if self.variant:
            return VARIANTS[self.variant].norm_eps
        return _TEST_MODEL_EPS.get((self.depths, self.dims), 1e-6)

    def shapes(self) -> Shapes:
        """Return name -> shape of every weight; GRN as the authors shape it, (1, 1, 1, 4C)."""
        shapes: Shapes = {}
        in_channels = self.in_channels
        for stage, (depth, dim) in enumerate(zip(self.depths, self.dims, strict=True)):
            shapes |= self._downsampling_shapes(stage, in_channels, dim)
            for block in range(depth):
                for name, shape in self._block_shapes(dim).items():
                    shapes[f'stages.{stage}.{block}.{name}'] = shape
            in_channels = dim
        return shapes

    def _downsampling_shapes(self, stage: int, in_channels: int, dim: int) -> Shapes:
        name = f'downsample_layers.{stage}'
        # The stem is a convolution, then a norm; the other layers have the norm first.
        if stage == 0:
            conv, norm, normed, side = f'{name}.0', f'{name}.1', dim, 4
        else:
            conv, norm, normed, side = f'{name}.1', f'{name}.0', in_channels, 2
        return {
            f'{conv}.weight': (dim, in_channels, side, side),
            f'{conv}.bias': (dim,),
            f'{norm}.weight': (normed,),
            f'{norm}.bias': (normed,),
        }

    def _block_shapes(self, dim: int) -> Shapes:
        shapes: Shapes = {
            'dwconv.weight': (dim, 1, 7, 7),
            'dwconv.bias': (dim,),
            'norm.weight': (dim,),
            'norm.bias': (dim,),
            'pwconv1.weight': (4 * dim, dim),
            'pwconv1.bias': (4 * dim,),
            'pwconv2.weight': (dim, 4 * dim),
            'pwconv2.bias': (dim,),
        }
        if self.use_grn:
            shapes['grn.gamma'] = shapes['grn.beta'] = (1, 1, 1, 4 * dim)
        if self.use_gamma:
            shapes['gamma'] = (dim,)
        return shapes


def measure_trunk(state_dict: Mapping[str, Tensor], prefix: str = '') -> Trunk:
    """Read the size of the trunk below ``prefix`` off the names and shapes of its weights.

    Any weight of a block counts for the depth, so a block with missing weights is counted too.
    """
    depths: dict[int, int] = {}
    dims: dict[int, int] = {}
    leaves = set()
    for name, value in state_dict.items():
        match = _BLOCK.match(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if match is None:
            continue
        stage = int(match[1])
        block = int(match[2])
        leaves.add(match[3])
        depths[stage] = max(depths.get(stage, 0), block + 1)
        if match[3] == 'dwconv.weight' and value.dim() and (block == 0 or stage not in dims):
            dims[stage] = value.shape[0]
    stages = range(max(depths, default=-1) + 1)
    stem = state_dict.get(prefix + STEM)
    return Trunk(
        depths=tuple(depths.get(stage, 0) for stage in stages),
        dims=tuple(dims.get(stage, 0) for stage in stages),
        use_grn=bool(leaves & {'grn.gamma', 'grn.beta'}),
        use_gamma='gamma' in leaves,
        in_channels=stem.shape[1] if stem is not None and stem.dim() == 4 else 3,
    )


def check_trunk(state_dict: Mapping[str, Tensor], prefix: str = '') -> None:
    """Check that the trunk below ``prefix`` is complete.

    Every weight must be there, hold floating-point numbers and have the shape that the other
    weights imply. The same holds for the norms after the trunk and the head, if they have any
    weight. No weight may belong to a stage that does not exist.

    Raises:
        ValueError: names the first weights that are wrong.
    """
    trunk = measure_trunk(state_dict, prefix)
    blocks = sum(max(depth, 1) for depth in trunk.depths)
    # Names come from a file, which could ask for millions of blocks.
    if blocks > len(state_dict):
        raise ValueError(
            f'not a complete ConvNeXt: the numbers in its names imply {blocks:,} blocks, but there '
            f'are only {len(state_dict):,} weights'
        )
    shapes = trunk.shapes() | _shapes_after(trunk, state_dict, prefix)
    wrong = []
    for key in state_dict:
        name = key.removeprefix(prefix)
        if key.startswith(prefix) and _PART.match(name) and name not in shapes:
            wrong.append(f'{name} belongs to no stage')
    for name, shape in shapes.items():
        value = state_dict.get(prefix + name)
        if value is None:
            wrong.append(f'{name} is missing')
        elif tuple(value.shape) != shape:
            wrong.append(f'{name} is {tuple(value.shape)}, expected {shape}')
        elif not value.is_floating_point():
            wrong.append(f'{name} holds {value.dtype}')
    if wrong:
        more = f' and {len(wrong) - 4} more' if len(wrong) > 4 else ''
        raise ValueError(
            f'not a complete ConvNeXt of depths {trunk.depths} and widths {trunk.dims}: '
            f'{"; ".join(wrong[:4])}{more}'
        )


def _shapes_after(trunk: Trunk, state_dict: Mapping[str, Tensor], prefix: str) -> Shapes:
    """Shapes of the norms and the head of which ``state_dict`` has at least one weight."""
    last = trunk.dims[-1] if trunk.dims else 0
    widths = {f'norm{stage}': dim for stage, dim in enumerate(trunk.dims)}
    widths['norm'] = last
    shapes: Shapes = {}
    for name, dim in widths.items():
        if f'{prefix}{name}.weight' in state_dict or f'{prefix}{name}.bias' in state_dict:
            shapes[f'{name}.weight'] = shapes[f'{name}.bias'] = (dim,)
    # A whole model has heads of other kinds.
    if not prefix:
        for name in ('head.weight', 'head.bias'):
            value = state_dict.get(name)
            if value is not None and 'head.weight' not in shapes:
                classes = value.shape[0] if value.dim() else 0
                shapes |= {'head.weight': (classes, last), 'head.bias': (classes,)}
    return shapes
