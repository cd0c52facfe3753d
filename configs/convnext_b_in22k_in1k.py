"""ConvNeXt-B at 224 x 224, from ImageNet-22k, 30 epochs with layer decay 0.8: the authors' recipe.

Paper:    arXiv:2201.03545 table 1; facebookresearch/ConvNeXt TRAINING.md @ 048efce
Command:  bash tools/dist_train.sh configs/convnext_b_in22k_in1k.py 8        8 GPUs x 32 images x 2
          python tools/test.py configs/convnext_b_in22k_in1k.py CHECKPOINT
Cost:     88.6 M parameters, 15.4 GMACs at 224 x 224 (the authors' count)
Expected: 85.8 top-1 (the authors' score). Ours: not yet run.
"""

_base_ = [
    '_base_/models_convnext_classifier.py',
    '_base_/imagenet.py',
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
train_dataloader = dict(batch_size=32)
