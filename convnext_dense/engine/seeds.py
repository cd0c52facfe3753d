"""Random numbers that do not depend on what happened before, so that a resumed run equals an uninterrupted one."""

from __future__ import annotations

import random

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook

from convnext_dense.registry import HOOKS


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Seeds Python, numpy and torch (all devices) before each training iteration: from run's seed, rank, iteration.

    It covers what runs with the model: Mixup, random erasing, stochastic depth, dropout. Augmentation in the data
    loader's workers is seeded by :class:`convnext_dense.datasets.SeedingSampler`. Needs ``randomness=dict(seed=...)``.
    """

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        seed = int(
            np.random.SeedSequence((runner.seed, get_rank(), runner.iter)).generate_state(1)[0]
        )
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
