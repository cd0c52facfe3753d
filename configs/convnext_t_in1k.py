"""ConvNeXt-T, ImageNet-1k from scratch, 300 epochs at 224 x 224: the authors' recipe.

Paper:    arXiv:2201.03545 table 1; facebookresearch/ConvNeXt TRAINING.md @ 048efce
Command:  bash tools/dist_train.sh configs/convnext_t_in1k.py 8        8 GPUs x 128 images x 4
          python tools/test.py configs/convnext_t_in1k.py CHECKPOINT
Cost:     28.6 M parameters, 4.5 GMACs at 224 x 224 (the authors' count)
Expected: 82.1 top-1 with averaged weights (the authors' score). Ours: not yet run.
"""

_base_ = [
    '_base_/models_convnext_classifier.py',
    '_base_/imagenet.py',
    '_base_/schedule_in1k.py',
    '_base_/default_runtime_classification.py',
]
model = dict(arch='tiny', drop_path_rate=0.1)
custom_hooks = [*_base_.custom_hooks, dict(type='convnext_dense.EMAHook', decay=0.9999)]
