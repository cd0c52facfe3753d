"""The authors' dense backbone, operation by operation: the peer that cannot be installed."""

from __future__ import annotations

import torch
from timm.layers import DropPath
from torch import Tensor, nn

from convnext_dense.variants import Variant


class ChannelsFirstNorm(nn.Module):
    """LayerNorm over axis 1 of (N, C, H, W) in single operations, each of which makes a map."""

    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.weight, self.bias, self.eps = (
            nn.Parameter(torch.ones(dim)),
            nn.Parameter(torch.zeros(dim)),
            eps,
        )

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        normed = centred / (centred.pow(2).mean(1, keepdim=True) + self.eps).sqrt()
        return self.weight[:, None, None] * normed + self.bias[:, None, None]


class Block(nn.Module):
    def __init__(self, dim: int, drop_path: float, eps: float):
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.mlp = nn.Sequential(
            nn.LayerNorm(dim, eps), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim)
        )
        self.gamma = nn.Parameter(torch.full((dim,), 1e-6))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.gamma * self.mlp(self.dwconv(x).permute(0, 2, 3, 1))
        return x + self.drop_path(y.permute(0, 3, 1, 2))


class AuthorsConvNeXt(nn.Module):
    """(N, 3, H, W) -> four normalized maps. Memory format is the input's: nothing here asks for one.

    Source: arXiv:2201.03545 section 2; facebookresearch/ConvNeXt
    object_detection/mmdet/models/backbones/convnext.py @ 048efce, whose operations these are, in their order.
    """

    def __init__(self, variant: Variant, drop_path_rate: float = 0.0):
        super().__init__()
        dims, eps = variant.dims, variant.norm_eps
        rates = iter(torch.linspace(0, drop_path_rate, sum(variant.depths)).tolist())
        self.stages = nn.ModuleList()
        for i, (dim, depth) in enumerate(zip(dims, variant.depths)):
            entry = (
                [ChannelsFirstNorm(dims[i - 1], eps), nn.Conv2d(dims[i - 1], dim, 2, 2)]
                if i
                else [nn.Conv2d(3, dim, 4, 4), ChannelsFirstNorm(dim, eps)]
            )
            self.stages.append(
                nn.Sequential(*entry, *(Block(dim, next(rates), eps) for _ in range(depth)))
            )
        self.norms = nn.ModuleList(ChannelsFirstNorm(dim, eps) for dim in dims)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for stage, norm in zip(self.stages, self.norms):
            x = stage(x)
            maps.append(norm(x))
        return tuple(maps)
