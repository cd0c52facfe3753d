"""What the weights of a trunk, in our names, say about its size, and whether they are all there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from convnext_dense.variants import VARIANTS

_PART = re.compile(r'(downsample_layers|stages|norm[0-9]+)\.')
_BLOCK = re.compile(r'stages\.([0-9])\.([0-9]{1,4})\.(.+)')


@dataclass(frozen=True)
class Trunk:
    """Blocks and channels of each stage, whether there are GRN and layer scale, channels of the image."""

    depths: tuple[int, ...]
    dims: tuple[int, ...]
    use_grn: bool
    use_gamma: bool
    in_channels: int

    @property
    def arch(self) -> str:
        """'tiny (3, 3, 9, 3), (96, 192, 384, 768)'; only the numbers where no variant has them."""
        sizes = f'{self.depths}, {self.dims}'
        name = next(
            (
                name
                for name, variant in VARIANTS.items()
                if (variant.depths, variant.dims, variant.use_grn)
                == (self.depths, self.dims, self.use_grn)
            ),
            None,
        )
        return f'{name} {sizes}' if name else sizes

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight; GRN as the authors write it."""
        shapes = {}
        for i, dim in enumerate(self.dims):
            stem, before = (
                f'downsample_layers.{i}',
                self.in_channels if i == 0 else self.dims[i - 1],
            )
            conv, norm, normed, side = (0, 1, dim, 4) if i == 0 else (1, 0, before, 2)
            shapes.update(
                {
                    f'{stem}.{conv}.weight': (dim, before, side, side),
                    f'{stem}.{conv}.bias': (dim,),
                    f'{stem}.{norm}.weight': (normed,),
                    f'{stem}.{norm}.bias': (normed,),
                }
            )
            for j in range(self.depths[i]):
                shapes.update(
                    {f'stages.{i}.{j}.{name}': shape for name, shape in self._block(dim).items()}
                )
        return shapes

    def _block(self, dim: int) -> dict[str, tuple[int, ...]]:
        shapes = {
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
            shapes |= {'grn.gamma': (1, 1, 1, 4 * dim), 'grn.beta': (1, 1, 1, 4 * dim)}
        return shapes | ({'gamma': (dim,)} if self.use_gamma else {})


def measure_trunk(state_dict: Mapping[str, Tensor], prefix: str = '') -> Trunk:
    """Read the size off the names and shapes behind ``prefix``: depths off any weight of a block."""
    depths: dict[int, int] = {}
    dims: dict[int, int] = {}
    inside = {
        key[len(prefix) :]: value for key, value in state_dict.items() if key.startswith(prefix)
    }
    for key, value in inside.items():
        if match := _BLOCK.match(key):
            i, j = int(match[1]), int(match[2])
            depths[i] = max(depths.get(i, 0), j + 1)
            if match[3] == 'dwconv.weight' and value.dim() and (j == 0 or i not in dims):
                dims[i] = value.shape[0]
    stages = range(max(depths, default=-1) + 1)
    leaves = {match[3] for key in inside if (match := _BLOCK.match(key))}
    stem = inside.get('downsample_layers.0.0.weight')
    return Trunk(
        tuple(depths.get(i, 0) for i in stages),
        tuple(dims.get(i, 0) for i in stages),
        use_grn=bool(leaves & {'grn.gamma', 'grn.beta'}),
        use_gamma='gamma' in leaves,
        in_channels=stem.shape[1] if stem is not None and stem.dim() == 4 else 3,
    )


def check_weights(state_dict: Mapping[str, Tensor], prefix: str = '') -> None:
    """Every weight of the trunk behind ``prefix`` is there, a floating-point number, and of the shape that the others
    ask for; so are norms after it and a head, if there are any. No weight is of a stage that is not there.

    Raises:
        ValueError: names the first ones that are not.
    """
    trunk = measure_trunk(state_dict, prefix)
    blocks = sum(max(depth, 1) for depth in trunk.depths)
    if blocks > len(state_dict):  # names are from a file, which could ask for millions of blocks
        raise ValueError(
            f'not a whole ConvNeXt: the numbers in its names ask for {blocks:,} blocks, and there are '
            f'{len(state_dict):,} weights'
        )
    shapes = trunk.shapes() | _shapes_behind(trunk, state_dict, prefix)
    wrong = [
        f'{key[len(prefix) :]} is of no stage'
        for key in state_dict
        if key.startswith(prefix)
        and _PART.match(key[len(prefix) :])
        and key[len(prefix) :] not in shapes
    ]
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
            f'not a whole ConvNeXt of depths {trunk.depths} and widths {trunk.dims}: '
            f'{"; ".join(wrong[:4])}{more}'
        )


def _shapes_behind(
    trunk: Trunk, state_dict: Mapping[str, Tensor], prefix: str
) -> dict[str, tuple[int, ...]]:
    """Shapes of the norms and the head of which ``state_dict`` has at least one weight."""
    last = trunk.dims[-1] if trunk.dims else 0
    widths = {f'norm{i}': dim for i, dim in enumerate(trunk.dims)} | {'norm': last}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, dim in widths.items():
        if {f'{prefix}{name}.weight', f'{prefix}{name}.bias'} & state_dict.keys():
            shapes |= {f'{name}.weight': (dim,), f'{name}.bias': (dim,)}
    head = [state_dict.get(f'{prefix}head.{p}') for p in ('weight', 'bias')]
    if not prefix and any(value is not None for value in head):
        classes = next((value.shape[0] for value in head if value is not None and value.dim()), 0)
        shapes |= {'head.weight': (classes, last), 'head.bias': (classes,)}
    return shapes
