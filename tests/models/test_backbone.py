"""The registered dense backbone: registries, outputs, norms, strict loading, DDP."""

import importlib
import tempfile

import pytest
import torch

from convnext_dense.checkpoints import load_trunk, read_checkpoint
from convnext_dense.models import ConvNeXt

SMALL = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 32))
# Typed by hand: a rename breaks every published checkpoint.
ANCHORS = {
    'downsample_layers.0.0.weight': (8, 3, 4, 4),
    'downsample_layers.0.1.bias': (8,),
    'downsample_layers.1.0.weight': (8,),
    'downsample_layers.1.1.weight': (16, 8, 2, 2),
    'stages.2.1.dwconv.weight': (24, 1, 7, 7),
    'stages.2.1.dwconv.bias': (24,),
    'stages.2.1.norm.weight': (24,),
    'stages.2.1.pwconv1.weight': (96, 24),
    'stages.2.1.pwconv2.weight': (24, 96),
    'stages.2.1.gamma': (24,),
    'norm0.weight': (8,),
    'norm3.bias': (32,),
}


@pytest.mark.parametrize('library', ['mmengine', 'mmdet', 'mmseg'])
def test_found_from_every_registry_without_custom_imports(library):
    registry = importlib.import_module(f'{library}.registry').MODELS
    backbone = registry.build(dict(type='convnext_dense.ConvNeXt', arch=SMALL, out_indices=[0, 3]))
    assert type(backbone) is ConvNeXt
    assert [o.shape[1] for o in backbone(torch.randn(1, 3, 64, 64))] == [8, 32]


def test_names_are_the_authors():
    state_dict = ConvNeXt(SMALL).state_dict()
    assert {name: tuple(state_dict[name].shape) for name in ANCHORS} == ANCHORS
    # Stem and downsampling layers, blocks, output norms: nothing else.
    assert len(state_dict) == 4 * 4 + 5 * 9 + 8
    v2 = ConvNeXt(SMALL | dict(use_grn=True)).state_dict()
    assert v2['stages.2.1.grn.gamma'].shape == (96,) and 'stages.2.1.gamma' not in v2


@pytest.mark.parametrize(
    ('out_indices', 'expected'),
    [((0, 1, 2, 3), (0, 1, 2, 3)), ((-1,), (3,)), ([1, -2], (1, 2)), ((0,), (0,))],
)
def test_out_indices(out_indices, expected):
    backbone = ConvNeXt(SMALL, out_indices=out_indices)
    outputs = backbone(torch.randn(2, 3, 64, 64))
    assert backbone.out_indices == expected
    for i, output in enumerate(outputs):
        size = 64 // backbone.out_strides[i]
        assert output.shape == (2, backbone.out_channels[i], size, size)
    assert len(backbone.stages) == expected[-1] + 1


def test_the_config_is_not_changed():
    config = dict(
        type='convnext_dense.ConvNeXt', arch=dict(SMALL), out_indices=[-2, -1], init_cfg=None
    )
    from mmengine.registry import MODELS

    MODELS.build(config)
    assert config == dict(
        type='convnext_dense.ConvNeXt', arch=SMALL, out_indices=[-2, -1], init_cfg=None
    )


@pytest.mark.parametrize(
    ('out_indices', 'message'),
    [
        ((4,), r'in 0\.\.3'),
        ((-5,), r'in 0\.\.3'),
        ((), 'at least one'),
        ((1, 0), 'ascending'),
        ((3, -1), 'once'),
        (2, 'sequence of stage numbers'),
        ((0, 1.5), 'sequence of stage numbers'),
        ('03', 'sequence of stage numbers'),
    ],
)
def test_bad_out_indices(out_indices, message):
    with pytest.raises(ValueError, match=message):
        ConvNeXt(SMALL, out_indices=out_indices)


def test_outputs_are_normalized():
    for output in ConvNeXt(SMALL)(torch.randn(1, 3, 64, 64)):
        torch.testing.assert_close(
            output.mean(1), torch.zeros_like(output[:, 0]), atol=1e-5, rtol=0
        )
        torch.testing.assert_close(
            output.var(1, correction=0), torch.ones_like(output[:, 0]), atol=2e-2, rtol=0
        )


def test_frozen_stages_leave_the_output_norms_trainable():
    backbone = ConvNeXt(SMALL, frozen_stages=4, norm_eval=True)
    assert {n for n, p in backbone.named_parameters() if p.requires_grad} == {
        f'norm{i}.{kind}' for i in range(4) for kind in ('weight', 'bias')
    }
    assert not backbone.norm0.training
    assert backbone.train() is backbone and backbone.eval() is backbone


@pytest.mark.parametrize('out_indices', [(0,), (0, 1, 2), (1, 3)])
@pytest.mark.parametrize('with_cp', [False, True], ids=['without_cp', 'with_cp'])
def test_ddp_has_no_unused_parameter(out_indices, with_cp):
    with tempfile.TemporaryDirectory() as folder:
        torch.distributed.init_process_group(
            'gloo', init_method=f'file://{folder}/store', rank=0, world_size=1
        )
        try:
            for find_unused in (False, True):
                model = torch.nn.parallel.DistributedDataParallel(
                    ConvNeXt(SMALL, out_indices=out_indices, with_cp=with_cp),
                    find_unused_parameters=find_unused,
                )
                for _ in range(2):  # an unused parameter is reported at the second step
                    sum(o.square().mean() for o in model(torch.randn(1, 3, 64, 64))).backward()
                assert all(p.grad is not None for p in model.parameters())
        finally:
            torch.distributed.destroy_process_group()


def classifier_file(path, arch=SMALL, **extra):
    """A file as the authors publish them: trunk, pooled norm and head under 'model'."""
    torch.manual_seed(3)
    weights = {
        k: torch.randn_like(v)
        for k, v in ConvNeXt(arch).state_dict().items()
        if not k.startswith('norm')
    }
    dim = arch['dims'][-1]
    weights |= {
        'norm.weight': torch.ones(dim),
        'norm.bias': torch.zeros(dim),
        'head.weight': torch.ones(5, dim),
    }
    torch.save(dict(model=weights, **extra), path)
    return weights


def pretrained(path, arch=SMALL, **kwargs):
    backbone = ConvNeXt(arch, init_cfg=dict(type='Pretrained', checkpoint=str(path)), **kwargs)
    backbone.init_weights()
    return backbone


def test_pretrained_takes_the_authors_classifier(tmp_path):
    import argparse

    weights = classifier_file(tmp_path / 'c.pth', args=argparse.Namespace(lr=4e-3))
    backbone = pretrained(tmp_path / 'c.pth')
    trunk = {k: v for k, v in weights.items() if k.startswith(('stages.', 'downsample_layers.'))}
    assert all(torch.equal(backbone.state_dict()[name], value) for name, value in trunk.items())
    assert torch.equal(backbone.norm3.weight, torch.ones(32))
    assert len(pretrained(tmp_path / 'c.pth', out_indices=(0, 1)).stages) == 2


def test_pretrained_takes_the_backbone_of_a_segmentor(tmp_path):
    source = ConvNeXt(SMALL)
    torch.nn.init.uniform_(source.norm2.weight)
    torch.save(
        dict(
            state_dict={f'backbone.{k}': v for k, v in source.state_dict().items()}
            | {'decode_head.conv_seg.weight': torch.ones(2)}
        ),
        tmp_path / 's.pth',
    )
    loaded = pretrained(tmp_path / 's.pth').state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in source.state_dict().items())


def test_pretrained_of_another_arch_is_refused_and_changes_nothing(tmp_path):
    classifier_file(tmp_path / 'c.pth')
    wider = dict(depths=(1, 1, 2, 1), dims=(8, 16, 24, 64))
    with pytest.raises(
        ValueError, match=r'Wrong shape: downsample_layers\.3\.1\.weight: file \(32, 24, 2, 2\)'
    ):
        pretrained(tmp_path / 'c.pth', wider)
    deeper = ConvNeXt(dict(depths=(1, 1, 3, 1), dims=(8, 16, 24, 32)))
    before = {k: v.clone() for k, v in deeper.state_dict().items()}
    with pytest.raises(ValueError, match=r'Missing: stages\.2\.2\.gamma'):
        load_trunk(deeper, read_checkpoint(tmp_path / 'c.pth'))
    assert all(torch.equal(before[name], value) for name, value in deeper.state_dict().items())


def test_pretrained_in_other_names_is_refused(tmp_path):
    torch.save({'stem.0.weight': torch.ones(8, 3, 4, 4)}, tmp_path / 'timm.pth')
    with pytest.raises(ValueError, match=r"the authors' names.*stem\.0\.weight"):
        pretrained(tmp_path / 'timm.pth')


class Marker:
    def __reduce__(self):
        return (open, (self.path, 'w'))


def test_hostile_empty_and_absent_files(tmp_path):
    Marker.path = str(tmp_path / 'marker')
    torch.save(dict(model=Marker()), tmp_path / 'hostile.pth')
    (tmp_path / 'page.pth').write_text('<html>not found</html>')
    (tmp_path / 'empty.pth').write_bytes(b'')
    torch.save(dict(epoch=3), tmp_path / 'other.pth')
    for name in ('hostile', 'page', 'empty'):
        with pytest.raises(ValueError, match=rf'{name}\.pth cannot be read as a checkpoint'):
            read_checkpoint(tmp_path / f'{name}.pth')
    assert not (tmp_path / 'marker').exists()
    with pytest.raises(ValueError, match=r"holds no weights.*\['epoch'\]"):
        read_checkpoint(tmp_path / 'other.pth')
    with pytest.raises(FileNotFoundError, match=r'nothing\.pth does not exist'):
        read_checkpoint(tmp_path / 'nothing.pth')


def test_safetensors_and_bad_init_cfg(tmp_path):
    from safetensors.torch import save_file

    weights = ConvNeXt(SMALL).state_dict()
    save_file(weights, tmp_path / 'w.safetensors')
    assert all(
        torch.equal(value, weights[name])
        for name, value in pretrained(tmp_path / 'w.safetensors').state_dict().items()
    )
    with pytest.raises(ValueError, match='takes checkpoint'):
        ConvNeXt(SMALL, init_cfg=dict(type='Pretrained', file='x')).init_weights()
    with pytest.raises(ValueError, match='not a list that holds it'):
        ConvNeXt(SMALL, init_cfg=[dict(type='Pretrained', checkpoint='x.pth')]).init_weights()


def test_web_addresses_are_fetched_once_and_read_alike(tmp_path, monkeypatch):
    from safetensors.torch import save_file

    fetched = []

    def fetch(address, path):
        fetched.append(address)
        if 'absent' in address:
            raise OSError('HTTP Error 404: Not Found')
        save_file({'w': torch.ones(2)}, path)

    monkeypatch.setattr('torch.hub.download_url_to_file', fetch)
    monkeypatch.setattr('torch.hub.get_dir', lambda: str(tmp_path))
    for _ in range(2):
        assert read_checkpoint('https://example.org/a/w.safetensors?v=1')['w'].tolist() == [1, 1]
    assert len(fetched) == 1
    with pytest.raises(ValueError, match=r'absent\.pth cannot be fetched .*404'):
        read_checkpoint('https://example.org/absent.pth')


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_autocast_trains(dtype):
    backbone = ConvNeXt(SMALL | dict(use_grn=True), drop_path_rate=0.1).train()
    with torch.autocast('cpu', dtype):
        loss = sum(o.float().square().mean() for o in backbone(torch.randn(2, 3, 64, 64)))
    loss.backward()
    assert all(p.grad.isfinite().all() for p in backbone.parameters())
