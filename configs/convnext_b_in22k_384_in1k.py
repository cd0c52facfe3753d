"""ConvNeXt-B at 384 x 384, from ImageNet-22k, 30 epochs with layer decay 0.8: the authors' recipe.

Paper:    arXiv:2201.03545 table 1; facebookresearch/ConvNeXt TRAINING.md @ 048efce
Command:  bash tools/dist_train.sh configs/convnext_b_in22k_384_in1k.py 8        8 GPUs x 16 images x 4
          python tools/test.py configs/convnext_b_in22k_384_in1k.py CHECKPOINT
Cost:     88.6 M parameters, 47.0 GMACs at 384 x 384 (the authors' count)
Expected: 86.8 top-1 (the authors' score). Ours: not yet run.
"""

_base_ = [
    '_base_/models_convnext_classifier.py',
    '_base_/imagenet_384.py',
    '_base_/schedule_finetune_in1k.py',
    '_base_/default_runtime_classification.py',
]
model = dict(
    arch='base',
    drop_path_rate=0.2,
    head_init_scale=0.001,
    data_preprocessor=dict(mixup=None),
    init_cfg=dict(
        type='Pretrained',
        checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_base_22k_224.pth',
    ),
)
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(accumulative_counts=4)
auto_scale_lr = dict(base_batch_size=128)  # of all GPUs together, before accumulation
