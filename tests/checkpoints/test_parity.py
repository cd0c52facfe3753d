"""Other libraries' networks against ours with the same weights; each row of each table."""

from dataclasses import replace

import pytest
import torch

from convnext_dense.checkpoints import LAYOUTS, convert_state_dict, to_facebook
from convnext_dense.checkpoints.convert import from_facebook
from convnext_dense.checkpoints.layouts.shapes import SAME


def assert_close(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        assert ((one - other).norm() / other.norm()).item() < 1e-5


def assert_round_trip(peer, networks):
    """In: every name known. Out: the same file, bit by bit."""
    converted = to_facebook(peer.state_dict)
    assert converted.layout == peer.layout.removesuffix('_4')
    assert not converted.unexpected and (converted.trunk.depths, converted.trunk.dims) == (
        networks.depths,
        networks.dims,
    )
    assert all(
        value.shape == (1, 1, 1, 4 * networks.dims[int(name[7])])
        for name, value in converted.state_dict.items()
        if '.grn.' in name
    )
    back, left_out = from_facebook(converted.state_dict, peer.layout)
    assert not left_out and back.keys() == peer.state_dict.keys() - converted.dropped.keys()
    for key, value in back.items():
        same = peer.state_dict[key]
        assert value.shape == same.shape or (
            not peer.reload and (same.shape[2:] == (1, 1) or '.grn.' in key)
        ), key
        assert torch.equal(value.reshape(same.shape), same), key


def assert_answers(peer, networks):
    """In: the same answer. Out: loaded strictly by the library, the same answer again."""
    weights = to_facebook(peer.state_dict).state_dict
    assert_close(networks.compute(peer, weights), peer.answer)
    if peer.reload:
        assert_close(peer.reload(from_facebook(weights, peer.layout)[0]), peer.answer)


def weights_for(peer, networks):
    """The authors' weights, of the kind that ``peer`` has."""
    version = 'v2' if any('grn' in key for key in peer.state_dict) else 'v1'
    weights = networks.golden(f'convnext_{version}_classifier')[0]
    trunk = {k: v for k, v in weights.items() if not k.startswith(('norm.', 'head.'))}
    norms = {
        k: v for k, v in networks.golden('convnext_v1_dense')[0].items() if k.startswith('norm')
    }
    norm, head = (
        {k: v for k, v in weights.items() if k.startswith(start)} for start in ('norm.', 'head.')
    )
    last = networks.norm3_of(norm)
    return (
        trunk
        | {
            'logits': norm | head,
            'maps': {},
            'dense': norms,
            'tokens': norm | last,
            'pooled': norm,
            'norm first': last | head,
        }[peer.compute]
    )


def assert_writes(peer, networks):
    """The authors' weights in the library's network: its answer is ours."""
    if not peer.reload:
        return
    weights = weights_for(peer, networks)
    assert_close(
        peer.reload(convert_state_dict(weights, to=peer.layout)), networks.compute(peer, weights)
    )


def left_out_by(layout, networks):
    """What is left out of a file with norms of classifiers and of each stage, and a head."""
    classifier = networks.golden(
        'convnext_v2_classifier' if layout == 'fcmae' else 'convnext_v1_classifier'
    )[0]
    dense = networks.golden('convnext_v1_dense')[0]
    norms = {k: v for k, v in dense.items() if k.startswith(('norm0', 'norm1', 'norm2'))}
    everything = classifier | networks.norm3_of(classifier) | norms
    return {
        key.removesuffix('.weight')
        for key in from_facebook(everything, layout)[1]
        if key.endswith('.weight')
    }


DENSE = {'norm0', 'norm1', 'norm2', 'norm3'}
LEFT_OUT = {
    'facebook': set(),
    'dinov3': DENSE - {'norm3'} | {'head'},
    'fcmae': DENSE | {'norm', 'head'},
    'timm': DENSE,
    'timm_hnf': DENSE - {'norm3'} | {'norm'},
    'timm_mlp_head': DENSE | {'head'},
    'timm_features': DENSE | {'norm', 'head'},
    'torchvision': DENSE,
    'transformers': set(),
    'transformers_dinov3': DENSE - {'norm3'} | {'head'},
    'transformers_dinov3_4': DENSE - {'norm3'} | {'head'},
    'mmpretrain': {'norm', 'head'},
    'mmpretrain_dense': {'norm', 'head'},
}


def assert_all(layout, networks):
    assert left_out_by(layout, networks) == LEFT_OUT[layout]
    if layout == 'dinov3':  # written from a library that holds its norm once
        weights = to_facebook(networks.peers(layout)[0].state_dict).state_dict
        single = {k: v for k, v in weights.items() if not k.startswith('norm3')}
        assert (
            from_facebook(single, layout)[0].keys() == networks.peers(layout)[0].state_dict.keys()
        )
    for check in (assert_round_trip, assert_answers, assert_writes):
        for peer in networks.peers(layout):
            check(peer, networks)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_library(layout, networks):
    assert networks.peers(layout)
    assert_all(layout, networks)


def altered(row, following):
    """Ways to get a row wrong."""
    yield 'deleted', None
    if (
        row.theirs
        and row.ours
        and following
        and following.ours
        and following.ours.text != row.ours.text
    ):
        yield "with the next row's name", row._replace(ours=following.ours)
    if row.shape is not SAME:
        yield 'without its shape', row._replace(shape=SAME)


MUTANTS = [
    (name, part, n, kind, row)
    for name, layout in LAYOUTS.items()
    for part in ('rows', 'outside')
    for rows in [getattr(layout, part)]
    for n in range(len(rows))
    for kind, row in altered(rows[n], rows[n + 1] if n + 1 < len(rows) else None)
]
# DINOv3's two names for one norm are the same numbers: either may stand for either.
EQUIVALENT = {
    ('norm.{p}', 'norm3.{p}'),
    ('norms.3.{p}', 'norm.{p}'),
    ('layer_norm.{p}', 'norm3.{p}'),
}


@pytest.mark.parametrize('name', LAYOUTS)
def test_each_row_is_needed(name, networks, monkeypatch):
    """The checks of this file fail if a row is deleted, renamed, or loses its shape."""
    layout, survivors = LAYOUTS[name], []
    for _, part, n, kind, row in (mutant for mutant in MUTANTS if mutant[0] == name):
        if row and (row.theirs.text, row.ours.text) in EQUIVALENT:
            continue
        rows = list(getattr(layout, part))
        rows[n : n + 1] = [row] if row else []
        monkeypatch.setitem(LAYOUTS, name, replace(layout, **{part: tuple(rows)}))
        try:
            assert_all(name, networks)
        except (AssertionError, ValueError, RuntimeError, KeyError, StopIteration):
            continue
        survivors.append((getattr(layout, part)[n], kind))
    assert not survivors
