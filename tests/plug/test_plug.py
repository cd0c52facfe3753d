"""What plug writes for a config: backbone, channels, training settings; and what it refuses."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS

from convnext_dense.errors import ConfigError
from convnext_dense.plug import plug
from convnext_dense.plug.channels import replace_backbone
from convnext_dense.plug.feature_maps import FeatureMaps, check_model, find_stages
from convnext_dense.plug.plug import make_overrides
from convnext_dense.plug.recipe import get_checkpoint, get_recipe
from convnext_dense.variants import VARIANTS

ROOT = Path(__file__).resolve().parents[2]
USER = """
_base_ = ['./parts/runtime.py']
backbone = dict(
    type='ResNetV1c', depth=18, out_indices=(0, 1, 2, 3),
    dilations=(1, 1, 2, 4), strides=(1, 2, 1, 1))
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(type='SegDataPreProcessor', mean=[0, 0, 0], std=[1, 1, 1]),
    pretrained='open-mmlab://resnet18_v1c',
    backbone=backbone,
    decode_head=dict(
        type='FCNHead', in_channels=512, in_index=3, channels=8, num_convs=1, num_classes=3),
    auxiliary_head=[dict(
        type='FCNHead', in_channels=256, in_index=-2, channels=8, num_convs=1, num_classes=3)],
    train_cfg=dict(),
    test_cfg=dict(mode='whole'))
custom_keys = {
    'backbone': dict(lr_mult=0.1), 'layer1': dict(lr_mult=0.1), 'head': dict(lr_mult=10.)}
optim_wrapper = dict(
    type='AmpOptimWrapper', loss_scale='dynamic', optimizer=dict(type='SGD', lr=0.1),
    clip_grad=dict(max_norm=1),
    paramwise_cfg=dict(norm_decay_mult=2., custom_keys=custom_keys))
param_scheduler = [dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=80, by_epoch=False)]
auto_scale_lr = dict(enable=False, base_batch_size=64)
load_from = 'old_model.pth'
"""


@pytest.fixture
def user(tmp_path):
    (tmp_path / 'parts').mkdir()
    (tmp_path / 'parts' / 'runtime.py').write_text(
        "default_scope = 'mmseg'\ncustom_imports = dict(imports='json')\n"
    )
    (tmp_path / 'user.py').write_text(USER)
    return tmp_path / 'user.py'


def test_writes_a_short_config_that_inherits_and_runs(user):
    text = user.read_text()
    done = plug(str(user), 'tiny', str(user.parent / 'new' / 'plugged.py'))
    new = Config.fromfile(done.path)
    assert user.read_text() == text
    assert list(done.path.parent.iterdir()) == [done.path]
    written = done.path.read_text()
    assert "'../user.py'" in written
    assert 'test_cfg' not in written
    assert len(written.splitlines()) < 100
    assert new.custom_imports == dict(imports=['convnext_dense', 'json'])
    assert new.model.backbone == dict(
        type='convnext_dense.ConvNeXt',
        arch='tiny',
        out_indices=(2, 3),
        output_stride=8,
        drop_path_rate=0.4,
        layer_scale_init_value=1.0,
        init_cfg=dict(
            type='Pretrained',
            checkpoint='https://dl.fbaipublicfiles.com/convnext/convnext_tiny_1k_224.pth',
        ),
    )
    head, auxiliary = new.model.decode_head, new.model.auxiliary_head[0]
    assert (head.in_channels, head.in_index) == (768, 1)
    assert (auxiliary.in_channels, auxiliary.in_index) == (384, 0)
    assert new.model.pretrained is None
    assert new.load_from is None
    assert new.model.data_preprocessor == dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    )
    assert new.optim_wrapper == dict(
        type='AmpOptimWrapper',
        loss_scale='dynamic',
        clip_grad=dict(max_norm=1),
        optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
        constructor='convnext_dense.LayerDecayOptimWrapperConstructor',
        paramwise_cfg=dict(
            decay_rate=0.9, decay_type='stage_wise', custom_keys=dict(head=dict(lr_mult=10.0))
        ),
    )
    assert new.param_scheduler[0].eta_min == 0
    assert new.param_scheduler[0].power == 0.9
    assert new.auto_scale_lr == dict(enable=False, base_batch_size=16)
    notes = ' '.join(done.notes)
    assert 'no warm-up' in notes
    assert 'find_unused' not in notes


def test_a_plugged_config_can_be_plugged_again(user):
    first = plug(str(user), 'atto', str(user.with_name('first.py')), checkpoint=None, check=False)
    assert any('random weights' in note for note in first.notes)
    # Statistics belong to the authors' weights: other weights keep those of the config.
    assert 'data_preprocessor' not in first.path.read_text()
    second = plug(str(first.path), 'v2_atto', str(user.with_name('second.py')), output_stride=16)
    backbone = Config.fromfile(second.path).model.backbone
    assert (backbone.arch, backbone.out_indices, backbone.output_stride) == ('v2_atto', (2, 3), 16)
    assert 'layer_scale_init_value' not in backbone
    assert any('CC BY-NC' in note for note in second.notes)


def test_nothing_is_written_over_or_left_behind(user):
    other = user.with_name('other.py')
    other.write_text('mine')
    for target, words in [
        (other, '--force writes over it'),
        (user, 'config that is read'),
        ('new.json', 'ends in .py'),
    ]:
        with pytest.raises(ConfigError, match=words):
            plug(str(user), 'atto', str(target))
    user.write_text(USER.replace("'FCNHead', in_channels=512", "'NoSuchHead', in_channels=512"))
    with pytest.raises(ConfigError, match=r'the new model fails.*NoSuchHead.*Nothing was written'):
        plug(str(user), 'atto', str(other), force=True)
    assert other.read_text() == 'mine'
    assert not list(user.parent.glob('_draft*'))
    assert plug(str(user), 'atto', str(other), force=True, check=False).path == other


def test_files_that_are_not_there_or_not_python_are_refused(user):
    new = str(user.with_name('new.py'))
    with pytest.raises(ConfigError, match=r'checkpoint nowhere\.pth does not exist'):
        plug(str(user), 'atto', new, checkpoint='nowhere.pth')
    with pytest.raises(ConfigError, match='cannot be written'):
        plug(str(user), 'atto', str(user / 'new.py'), checkpoint=None)
    user.write_text('model = dict(')
    with pytest.raises(ConfigError, match='cannot be read'):
        plug(str(user), 'atto', new)


@pytest.mark.parametrize(
    'change, words',
    [
        (("'ResNetV1c', depth=18", "'NoSuchNet'"), 'the backbone NoSuchNet cannot be built'),
        (('in_channels=512', 'in_channels=999'), 'in_channels=999, but the backbone returns'),
        (('(1, 2, 1, 1)', '(1, 1, 1, 1)'), r'feature maps with strides \(4, 4, 4, 4\)'),
        (('backbone=backbone', 'spine=backbone'), 'expected one backbone in model'),
    ],
    ids=['unknown', 'channels', 'strides', 'none'],
)
def test_a_refusal_gives_the_reason_and_says_what_to_do_by_hand(user, change, words):
    user.write_text(USER.replace(*change))
    with pytest.raises(ConfigError, match=words) as error:
        plug(str(user), 'base', str(user.with_name('new.py')))
    assert 'By hand' in str(error.value)
    assert '(128, 256, 512, 1024)' in str(error.value)


def test_unknown_arch_and_pure_python_configs_are_refused(user):
    with pytest.raises(ConfigError, match="Did you mean 'tiny'"):
        plug(str(user), 'tniy', str(user.with_name('new.py')))
    user.write_text(
        'from mmengine.config import read_base\n'
        'with read_base():\n    from .parts.runtime import *\n'
    )
    with pytest.raises(ConfigError, match='read_base'):
        plug(str(user), 'tiny', str(user.with_name('new.py')))


def test_other_images_get_no_weights_of_three_channels(user):
    cfg = Config.fromfile(user)
    cfg.model.backbone.update(in_channels=4, with_cp=True)
    overrides, notes = make_overrides(cfg, 'tiny')
    backbone = overrides['model']['backbone']
    assert backbone['in_channels'] == 4
    assert backbone['with_cp']
    assert 'init_cfg' not in backbone
    assert 'data_preprocessor' not in overrides['model']
    assert 'random weights' in notes[0]


@pytest.fixture
def wrapped(user):
    """A detector in a wrapper, with a chain of two necks."""
    cfg = Config.fromfile(user)
    detector = cfg.model.copy()
    for key in ('decode_head', 'auxiliary_head', 'pretrained'):
        detector.pop(key)
    detector.neck = [
        dict(
            type='FPN', in_channels=[64, 128, 256, 512], start_level=1, end_level=3, out_channels=8
        ),
        dict(type='DyHead', in_channels=8),
    ]
    cfg.model = dict(
        type='SoftTeacher',
        detector=detector,
        data_preprocessor=dict(
            type='MultiBranchDataPreprocessor',
            data_preprocessor=dict(mean=[1, 1, 1], std=[1, 1, 1]),
        ),
    )
    return cfg


def test_wrapped_detector_and_chain_of_necks(wrapped):
    model = make_overrides(wrapped, 'tiny')[0]['model']
    assert model['detector']['backbone']['out_indices'] == (1, 2, 3)
    assert model['detector']['neck'] == [
        dict(type='FPN', in_channels=[192, 384, 768], start_level=0, end_level=2, out_channels=8),
        dict(type='DyHead', in_channels=8),
    ]
    assert model['data_preprocessor']['data_preprocessor']['bgr_to_rgb'] is True


def test_a_neck_may_skip_the_last_feature_map(wrapped):
    wrapped.model.detector.neck[0].end_level = 2
    model = make_overrides(wrapped, 'tiny')[0]['model']
    assert model['detector']['backbone']['out_indices'] == (1, 2)
    assert model['detector']['neck'][0] == dict(
        type='FPN', in_channels=[192, 384], start_level=0, end_level=1, out_channels=8
    )


@pytest.mark.parametrize('output_stride, is_noted', [(32, True), (8, False)])
def test_new_strides_of_a_detector_are_noted(wrapped, output_stride, is_noted):
    _, notes = make_overrides(wrapped, 'tiny', output_stride=output_stride)
    assert ('featmap_strides' in ' '.join(notes)) == is_noted


class LastMap(torch.nn.Module):
    """A neck that takes four feature maps and reads the last."""

    def __init__(self, in_channels):
        super().__init__()
        self.conv = torch.nn.Conv2d(in_channels[-1], 8, 1)

    def forward(self, maps):
        return (self.conv(maps[-1]),)


def test_check_names_what_is_never_trained(user):
    cfg = Config.fromfile(user)
    cfg.model.pretrained = cfg.model.auxiliary_head = None
    cfg.model.backbone = dict(type='convnext_dense.ConvNeXt', arch='atto')
    cfg.model.neck = dict(type='LastMap', in_channels=[40, 80, 160, 320])
    cfg.model.decode_head.update(in_channels=8, in_index=0)
    MODELS.register_module(module=LastMap, force=True)
    (note,) = check_model(cfg)
    assert 'norm0.weight' in note
    assert 'norm3.weight' not in note
    assert 'find_unused_parameters' in note


@pytest.mark.parametrize(
    'backbone, strides, stages, output_stride',
    [
        (dict(), (4, 8, 16, 32), (0, 1, 2, 3), 32),
        (dict(), (8, 16, 32), (1, 2, 3), 32),
        (dict(), (32,), (3,), 32),
        (dict(), (4, 8, 8, 8), (0, 1, 2, 3), 8),
        (dict(out_indices=-1), (4, 8, 16, 16), (0, 1, 2, 3), 16),
        (dict(dilations=(1, 1, 2, 4), out_indices=(2, 3)), (8, 8), (2, 3), 8),
        (dict(dilations=(1, 1, 1, 2), out_indices=[3]), (16,), (3,), 16),
        (dict(output_stride=16, out_indices=(1, 3)), (8, 16), (1, 3), 16),
        (dict(dilations=(1, 1, 2, 4, 4), out_indices=(1, 2, 4, 6)), (4, 8, 8, 8), (0, 1, 2, 3), 8),
    ],
)
def test_stage_of_each_map(backbone, strides, stages, output_stride):
    maps = FeatureMaps((1,) * len(strides), strides, find_stages(strides, backbone), ())
    assert maps.stages == stages
    assert maps.output_stride == output_stride


def test_channels_in_any_order():
    maps = FeatureMaps((256, 512, 1024), (8, 16, 32), (1, 2, 3), ())
    neck = dict(type='YOLOV3Neck', in_channels=[1024, 512, 256])
    model = dict(backbone=dict(type='Darknet'), neck=neck)
    assert replace_backbone(model, maps, 'atto')['neck'] == dict(in_channels=[320, 160, 80])


@pytest.mark.parametrize(
    'readers, words',
    [
        (dict(roi_head=dict(shared_head=dict())), 'without a neck'),
        (dict(neck=dict(type='Own', widths=[1])), 'found no in_channels in the neck'),
    ],
)
def test_models_without_a_known_place_for_channels_are_refused(readers, words):
    maps = FeatureMaps((256, 512, 1024), (8, 16, 32), (1, 2, 3), ())
    with pytest.raises(ConfigError, match=words):
        replace_backbone(dict(backbone=dict(), **readers), maps, 'atto')


@pytest.mark.parametrize(
    'path',
    [
        path
        for data in ('coco', 'ade20k')
        for path in sorted((ROOT / 'configs').glob(f'*_convnext_*_{data}.py'))
        if '_b_22k_' not in path.stem  # base starts from ImageNet-1k weights here
    ],
    ids=lambda path: path.stem,
)
def test_recipes_are_those_of_the_configs(path):
    cfg = Config.fromfile(path)
    backbone, wrapper = cfg.model.backbone, cfg.optim_wrapper
    recipe = get_recipe(cfg, backbone.arch)
    assert get_checkpoint(backbone.arch) == backbone.init_cfg.checkpoint
    assert recipe.drop_path_rate == backbone.drop_path_rate
    assert recipe.lr == wrapper.optimizer.lr
    assert recipe.decay_rate == wrapper.paramwise_cfg.decay_rate
    assert recipe.decay_type == wrapper.paramwise_cfg.decay_type


def test_every_arch_has_a_recipe():
    cfg = Config(dict(default_scope='mmdet', model=dict()))
    assert all(get_recipe(cfg, arch).lr > 0 for arch in VARIANTS)
    assert get_recipe(cfg, 'v2_atto').drop_path_rate == 0.1
    assert get_recipe(cfg, 'v2_base').drop_path_rate == 0.7


def test_the_scope_in_the_model_type_chooses_the_recipe():
    cfg = Config(dict(model=dict(type='mmseg.EncoderDecoder')))
    assert get_recipe(cfg, 'tiny').decay_type == 'stage_wise'


def test_every_arch_with_published_weights_has_their_address():
    without = [arch for arch in VARIANTS if not get_checkpoint(arch)]
    assert without == ['atto', 'femto', 'pico', 'nano', 'xxlarge', 'v2_small']
    assert get_checkpoint('v2_huge').endswith('/convnextv2/im1k/convnextv2_huge_1k_224_ema.pt')
