"""A drawn sample: a small folder of drawn pictures that stands in for a data set."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from convnext_dense.data.sample_folder import is_complete, read_stamp, write_folder
from convnext_dense.errors import DataError

SAMPLE_ROOT = Path('data/sample')  # where all samples lie by default


def _leave_settings(dataset: MutableMapping, training: bool) -> None:
    """The files have the same names as in the data set: no other setting needs to change."""


@dataclass(frozen=True)
class Sample:
    """Drawn pictures in the files and folders of a data set.

    Attributes:
        folder: where they lie, relative to the folder of all samples (``SAMPLE_ROOT``).
        counts: default number of pictures in each split, training first.
        version: raised whenever the pictures change, so that older samples are written again.
        write_split: ``write_split(root, split, count, seed)`` draws and writes a split.
        config: name of the config that is made to learn from this sample.
        classes: names of what the pictures show, for configs that choose classes by name; empty
            if the choice is not checked.
        adapt: ``adapt(dataset, training)`` changes a config's data set, apart from ``data_root``,
            so that it reads the training or the validation split of the sample.
    """

    folder: Path
    counts: dict[str, int]
    version: int
    write_split: Callable[[Path, str, int, int], None]
    config: str
    classes: tuple[str, ...] = ()
    adapt: Callable[[MutableMapping, bool], None] = _leave_settings

    def write(
        self,
        root: str | Path,
        num_train: int | None = None,
        num_val: int | None = None,
        seed: int = 0,
    ) -> bool:
        """Write the sample; returns True if written, False if the same one is there already.

        The folder appears as a whole or not at all. A sample with other counts, another seed or of
        another version is replaced.

        Args:
            root: folder of this sample (not of all samples).
            num_train: number of training pictures; None: the default.
            num_val: number of validation pictures; None: the default.
            seed: of all pictures.

        Raises:
            DataError: a count below 1, a negative seed, or ``root`` holds other files, which are
                left as they are.
        """
        train_split, val_split = self.counts
        if num_train is None:
            num_train = self.counts[train_split]
        if num_val is None:
            num_val = self.counts[val_split]
        if num_train < 1 or num_val < 1 or seed < 0:
            raise DataError(
                'num_train and num_val must be at least 1 and seed at least 0; '
                f'got num_train={num_train}, num_val={num_val}, seed={seed}'
            )
        counts = {train_split: num_train, val_split: num_val}

        def write_splits(folder: Path) -> None:
            for split, count in counts.items():
                self.write_split(folder, split, count, seed)

        stamp = dict(counts=counts, seed=seed, version=self.version)
        return write_folder(Path(root), stamp, write_splits)

    def ensure(self, root: str | Path) -> bool:
        """Write the default sample unless one of this version, of any size and seed, is there.

        Returns:
            Whether it was written.
        """
        root = Path(root)
        stamp = read_stamp(root)
        if stamp and stamp.get('version') == self.version and is_complete(root, stamp):
            return False
        return self.write(root)
