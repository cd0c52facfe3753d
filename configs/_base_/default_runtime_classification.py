"""What every classification run shares: ``default_runtime.py`` with repeatable random numbers and one size."""

_base_ = ['default_runtime.py']
env_cfg = dict(cudnn_benchmark=True)
custom_hooks = [
    dict(type='convnext_dense.LearningRateRangeHook'),
    dict(type='convnext_dense.ProgressHook'),
    dict(type='convnext_dense.IterationSeedHook'),
]
randomness = dict(seed=0)  # --resume then gives the same numbers as a run that was never stopped
