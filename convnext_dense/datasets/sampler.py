"""A sampler that also determines how each sample is augmented."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from mmengine.dataset import DefaultSampler

from convnext_dense.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class SeedingSampler(DefaultSampler):
    """mmengine's DefaultSampler with items (index, seed).

    The seed depends on the seed of the run, the epoch and the index. A data set that takes its
    random numbers from it gives the same pictures for any number of workers, and after ``--resume``
    the pictures of the run that was not interrupted.

    Needs ``randomness=dict(seed=...)`` in the config and, for another order in each epoch,
    mmengine's DistSamplerSeedHook, which is a default hook.
    """

    num_samples: int  # of an epoch; set by DefaultSampler

    def keep_multiple_of(self, number: int) -> None:
        """Leave out the last samples of each epoch to keep a multiple of ``number``.

        An epoch with fewer samples than that is left as it is.
        """
        multiple = self.num_samples // number * number
        if multiple > 0:
            self.num_samples = multiple

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for index in islice(super().__iter__(), self.num_samples):
            sequence = np.random.SeedSequence((self.seed, self.epoch, index))
            yield index, int(sequence.generate_state(1)[0])
