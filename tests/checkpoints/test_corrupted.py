"""Damaged files by seed: each is refused in one line or loaded right, none is loaded wrong."""

import io
import random
import warnings

import pytest
import torch
from safetensors.torch import save

from convnext_dense import ConvNeXt
from convnext_dense.checkpoints import read_checkpoint
from convnext_dense.checkpoints.write import write_checkpoint

SMALL = dict(depths=(1, 1, 1, 1), dims=(4, 4, 8, 8), use_grn=True)
KINDS = (
    'cut',
    'cut front',
    'flipped bit',
    'wrong byte',
    'zeroed block',
    'swapped blocks',
    'renamed',
    'retyped',
    'reshaped',
    'removed',
)


@pytest.fixture(scope='module')
def weights():
    torch.manual_seed(0)
    return {name: torch.randn_like(value) for name, value in ConvNeXt(SMALL).state_dict().items()}


def to_bytes(weights, suffix, folder):
    if suffix == 'foreign':  # .safetensors without our checksums
        return save(weights)
    if suffix == '.safetensors':
        write_checkpoint(weights, folder / f'whole{suffix}')
        return (folder / f'whole{suffix}').read_bytes()
    buffer = io.BytesIO()
    torch.save(dict(model=weights), buffer, _use_new_zipfile_serialization=suffix == '.pth')
    return buffer.getvalue()


def damage_bytes(content, kind, draw):
    end = len(content)
    if (
        content[8:9] == b'{' and b'crc32' not in content and not kind.startswith('cut')
    ):  # numbers have no checksum here
        end = 8 + int.from_bytes(content[:8], 'little')
    content, at = bytearray(content), draw.randrange(end)
    if kind == 'cut':
        return content[:at]
    if kind == 'cut front':
        return content[at:]
    if kind == 'flipped bit':
        content[at] ^= 1 << draw.randrange(8)
    elif kind == 'wrong byte':
        content[at] = draw.randrange(256)
    elif kind == 'zeroed block':
        content[at : min(at + 64, end)] = bytes(min(64, end - at))
    else:
        at, other = min(at, end - 64), draw.randrange(end - 64)
        content[at : at + 64], content[other : other + 64] = (
            content[other : other + 64],
            content[at : at + 64],
        )
    return content


def damage_weights(weights, kind, draw):
    weights = dict(weights)
    name = draw.choice([name for name in weights if not name.startswith('norm')])
    value = weights.pop(name)
    if kind == 'renamed':
        weights[draw.choice([f'x.{name}', name[:-1], name.replace('.', '_'), name.upper()])] = value
    elif kind == 'retyped':
        weights[name] = (
            value.view(torch.int32) if draw.random() < 0.5 else value.mul(100).to(torch.int64)
        )
    elif kind == 'reshaped':
        weights[name] = draw.choice(
            [
                lambda v: v.reshape(-1)[1:],
                lambda v: v.unsqueeze(-1).expand(*v.shape, 2).clone(),
                lambda v: torch.cat([v, v]),
            ]
        )(value)
    return weights


def run(weights, suffix, seeds, folder):
    """How many of each kind were refused; any loading that is not exact fails."""
    whole, refused = to_bytes(weights, suffix, folder), dict.fromkeys(KINDS, 0)
    for seed in seeds:
        draw, kind = random.Random(seed), KINDS[seed % len(KINDS)]
        path = folder / f'damaged.{suffix.strip(".")}'
        if kind in ('renamed', 'retyped', 'reshaped', 'removed'):
            path.write_bytes(to_bytes(damage_weights(weights, kind, draw), suffix, folder))
        else:
            path.write_bytes(damage_bytes(whole, kind, draw))
        model = ConvNeXt(SMALL, init_cfg=dict(type='Pretrained', checkpoint=str(path)))
        try:
            model.init_weights()
        except ValueError as error:
            assert '\n' not in str(error).strip() or 'damaged' in str(error), (
                seed,
                kind,
                str(error),
            )
            assert len(str(error)) > 30 and 'damaged' in str(error), (
                seed,
                kind,
                str(error),
            )  # names the file
            refused[kind] += 1
            continue
        for name, value in model.state_dict().items():
            assert torch.equal(value.reshape(-1), weights[name].reshape(-1)), (seed, kind, name)
    return refused


def check(refused, count):
    """Nearly all are refused; the others had damage in bytes without meaning (padding, a date)."""
    each = count // len(KINDS)
    for kind in ('cut', 'renamed', 'retyped', 'reshaped', 'removed'):
        assert refused[kind] == each, (kind, refused)
    assert sum(refused.values()) > 0.75 * count, refused


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors', 'foreign'])
def test_forty_of_each(weights, suffix, tmp_path):
    check(run(weights, suffix, range(40), tmp_path), 40)


@pytest.mark.slow
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors', 'foreign'])
def test_thousand_of_each(weights, suffix, tmp_path):
    check(run(weights, suffix, range(1000, 2000), tmp_path), 1000)


def test_a_flip_in_the_numbers_is_seen(weights, tmp_path):
    """Torch reads such a file silently; its archives and our .safetensors have checksums."""
    for suffix in ('.pth', '.safetensors'):
        content = bytearray(to_bytes(weights, suffix, tmp_path))
        at = content.find(weights['stages.0.0.pwconv1.weight'].numpy().tobytes())
        content[at + 3] ^= 1
        (tmp_path / f'flipped{suffix}').write_bytes(content)
        with pytest.raises(
            ValueError, match=r'it is damaged: .* inside does not match its checksum'
        ):
            read_checkpoint(tmp_path / f'flipped{suffix}')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        torch.load(tmp_path / 'flipped.pth', weights_only=True)
