"""Fixtures of the layers."""

import pytest

from snnfer.neurons.kernels import _block_cpu


@pytest.fixture
def fused(monkeypatch):
    """Number of calls of the compiled block."""
    calls = []
    original = _block_cpu.block_sequence
    monkeypatch.setattr(_block_cpu, "block_sequence", lambda *a, **k: calls.append(1) or original(*a, **k))
    return calls
