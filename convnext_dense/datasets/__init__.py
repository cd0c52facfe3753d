"""Data sets for classification, and the sampler that makes their augmentation repeatable."""

from convnext_dense.datasets.image_folder import ImageFolder, ImageNet, ImageNet22k
from convnext_dense.datasets.sampler import SeedingSampler

__all__ = ['ImageFolder', 'ImageNet', 'ImageNet22k', 'SeedingSampler']
