"""A sampler that says how each sample is to be augmented."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from mmengine.dataset import DefaultSampler

from convnext_dense.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class SeedingSampler(DefaultSampler):
    """mmengine's DefaultSampler with items (index, seed): the seed depends on the run's seed, the epoch and the index.

    A data set that draws its random numbers from that seed gives the same pictures for any number of workers, and after
    ``--resume`` those of the run that was not interrupted. Needs ``randomness=dict(seed=...)`` in the config, and for
    another order in each epoch mmengine's DistSamplerSeedHook, which is there by default.
    """

    def keep_multiple_of(self, number: int) -> None:
        """Leave out the last samples of each epoch, so that a multiple of ``number`` is left, unless that is 0."""
        self.num_samples = self.num_samples // number * number or self.num_samples

    def __iter__(self) -> Iterator[tuple[int, int]]:
        for index in islice(super().__iter__(), self.num_samples):
            yield (
                index,
                int(np.random.SeedSequence((self.seed, self.epoch, index)).generate_state(1)[0]),
            )
