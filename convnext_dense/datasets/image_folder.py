"""Folders of images, one folder for each class, with timm's transforms."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from torch.utils.data import Dataset

from convnext_dense.data.imagenet import get_class_names, list_split
from convnext_dense.registry import DATASETS


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed Python, numpy and torch's CPU generator inside the block; restore them afterwards."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    torch_state = torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs too
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)


def _choose(indices: int | Sequence[int], count: int) -> np.ndarray:
    """Indices into ``count`` images; a number stands for that many, spread evenly."""
    if isinstance(indices, int):
        positions = np.linspace(0, count - 1, min(indices, count))
        return positions.round().astype(int)
    return np.asarray(indices)


def _read_rgb(path: str) -> Image.Image:
    try:
        with Image.open(path) as file:
            return file.convert('RGB')
    except (OSError, SyntaxError) as error:  # SyntaxError: what PIL raises for a broken PNG
        raise OSError(f'{path} cannot be read ({error}): unpack it again, or remove it') from error


@DATASETS.register_module()
class ImageFolder(Dataset):
    """Images in ``data_root/split/CLASS/*``.

    An item is ``dict(inputs=..., gt_label=..., img_path=...)``; inputs are (3, H, W) uint8 RGB.

    Args:
        data_root: folder that holds the splits.
        split: folder of this split. The label of a class is its place in the sorted folders of
            ``train``, or of the split itself if there is no ``train``.
        transform: arguments of ``timm.data.create_transform``, such as ``input_size``,
            ``is_training``, ``auto_augment``, ``interpolation``, ``crop_pct``, ``crop_mode``.
            Normalization and random erasing belong to the data preprocessor.
        indices: use these images only; a number: that many, spread evenly over the split; None:
            all.

    Attributes:
        metainfo: ``classes``, the English names if they are known, and ``wnids``, the folders.

    Raises:
        DataError: see :func:`convnext_dense.data.imagenet.list_split`.
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        transform: Mapping | None = None,
        indices: int | Sequence[int] | None = None,
    ):
        paths, labels, wnids = list_split(data_root, split)
        # Arrays, not lists: worker processes share their memory with the parent. The objects of a
        # list would be copied, because reading one changes its reference count.
        self._paths = np.array(paths, dtype=bytes)
        self._labels = np.array(labels)
        if indices is not None:
            chosen = _choose(indices, len(paths))
            self._paths = self._paths[chosen]
            self._labels = self._labels[chosen]
        self.data_root = Path(data_root)
        self.transform = create_transform(**(transform or {}), normalize=False)
        class_names = get_class_names(data_root, wnids)
        self.metainfo = dict(classes=tuple(class_names), wnids=tuple(wnids))

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, item: int | tuple[int, int]) -> dict:
        """Read and transform an image.

        Args:
            item: an index, or (index, seed) to take all random numbers from that seed.

        Raises:
            OSError: a file that cannot be read as an image.
        """
        if isinstance(item, tuple):
            index, seed = item
            with _seeded(seed):
                return self._read(index)
        return self._read(item)

    def _read(self, index: int) -> dict:
        path = str(self.data_root / self._paths[index].decode())
        image = self.transform(_read_rgb(path))  # (3, H, W) uint8
        return dict(inputs=image, gt_label=int(self._labels[index]), img_path=path)


@DATASETS.register_module()
class ImageNet(ImageFolder):
    """ImageNet-1k (ILSVRC2012), 1,000 classes: 1,281,167 training, 50,000 validation images."""


@DATASETS.register_module()
class ImageNet22k(ImageFolder):
    """ImageNet-22k (fall 2011): 14.2 million images of 21,841 classes, all of them in ``train``."""
