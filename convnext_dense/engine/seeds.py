"""Random numbers that make a resumed run equal to an uninterrupted one."""

from __future__ import annotations

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from convnext_dense.registry import HOOKS


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds Python, numpy and torch before each training iteration.

    The seed follows from the run's seed, the rank and the iteration, so it does not depend on what
    happened before. It covers everything that runs with the model: Mixup, random erasing,
    stochastic depth, dropout. Augmentation in the workers of the data loader is seeded by
    :class:`convnext_dense.datasets.SeedingSampler`. The config must set
    ``randomness=dict(seed=...)``.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        sequence = np.random.SeedSequence((runner.seed, get_rank(), runner.iter))
        seed = int(sequence.generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
