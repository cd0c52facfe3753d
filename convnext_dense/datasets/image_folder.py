"""Folders of images, one folder for each class, through timm's transforms."""

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
def _seeded(seed: int | None) -> Iterator[None]:
    """Random numbers of Python, numpy and torch's CPU from ``seed`` inside, as before outside; None changes nothing."""
    if seed is None:
        yield
        return
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which seeds GPUs too
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@DATASETS.register_module()
class ImageFolder(Dataset):
    """Images in ``data_root/split/CLASS/*``; items ``dict(inputs=uint8 RGB (3, H, W), gt_label, img_path)``.

    Args:
        data_root: folder that holds the splits.
        split: folder of this split. Labels are places in the sorted folders of ``train``, where there is one.
        transform: arguments of ``timm.data.create_transform``, such as ``input_size``, ``is_training``,
            ``auto_augment``, ``interpolation``, ``crop_pct``, ``crop_mode``. Normalization and random erasing are the
            data preprocessor's.
        indices: use these images only; a number: that many, spread evenly over the split; None: all.

    Attributes:
        metainfo: ``classes``, what people call them where it is known, and ``wnids``, the folders.

    Raises:
        FileNotFoundError, ValueError: see :func:`convnext_dense.data.imagenet.list_split`.
    """

    def __init__(
        self,
        data_root: str,
        split: str = 'train',
        transform: Mapping | None = None,
        indices: int | Sequence[int] | None = None,
    ):
        paths, labels, wnids = list_split(data_root, split)
        if isinstance(indices, int):
            indices = np.linspace(0, len(paths) - 1, min(indices, len(paths))).round().astype(int)
        chosen = slice(None) if indices is None else np.asarray(indices)
        # Arrays, not lists: workers share them with the parent, where Python's counters of references would copy them.
        self._paths, self._labels = np.array(paths, dtype=bytes)[chosen], np.array(labels)[chosen]
        self.data_root = Path(data_root)
        self.transform = create_transform(**(transform or {}), normalize=False)
        self.metainfo = dict(classes=tuple(get_class_names(data_root, wnids)), wnids=tuple(wnids))

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, item: int | tuple[int, int]) -> dict:
        """Item ``index``, or ``(index, seed)`` with all random numbers from that seed.

        Raises:
            OSError: a file that cannot be read as an image.
        """
        index, seed = item if isinstance(item, tuple) else (item, None)
        path = str(self.data_root / self._paths[index].decode())
        try:
            with Image.open(path) as file:
                image = file.convert('RGB')
        except (OSError, SyntaxError) as error:  # SyntaxError: what PIL raises for a broken PNG
            raise OSError(
                f'{path} cannot be read ({error}): unpack it again, or remove it'
            ) from error
        with _seeded(seed):
            return dict(
                inputs=self.transform(image), gt_label=int(self._labels[index]), img_path=path
            )


@DATASETS.register_module()
class ImageNet(ImageFolder):
    """ImageNet-1k (ILSVRC2012): 1,281,167 training and 50,000 validation images of 1,000 classes."""


@DATASETS.register_module()
class ImageNet22k(ImageFolder):
    """ImageNet-22k (fall 2011): 14.2 million images of 21,841 classes, all of them in ``train``."""
