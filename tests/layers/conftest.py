"""Both forms that the lean block keeps LayerNorm in."""

import pytest

from convnext_dense.layers import lean_norm


@pytest.fixture(params=['OnMap', 'Folded'])
def form(request, monkeypatch):
    """'OnMap' as on CPUs, 'Folded' as on GPUs."""
    monkeypatch.setattr(lean_norm, 'form', lambda x: getattr(lean_norm, request.param))
    return request.param
