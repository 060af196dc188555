"""Comparisons of two runs that need no lava."""

import torch

from snnfer.converters.lava.comparison import RunComparison, compare_layer


def compared(*layers):
    return RunComparison(tuple(compare_layer(f"fc{i}", *pair) for i, pair in enumerate(layers)), 4, 1.0, 1.0, 1.0)


def test_layers_in_which_nothing_was_sent_are_named():
    spikes, silence = torch.eye(4)[:, None], torch.zeros(4, 1, 4)
    found = compared((spikes, spikes), (silence, silence), (silence, spikes))
    assert found.silent_layers == ("fc1",)
    assert found.to_dict()["silent_layers"] == ["fc1"]
    assert "warning: fc1 sent no spikes: nothing was compared there" in found.table()
    assert [row.split()[-1] for row in found.table().splitlines()[1:4]] == ["0", "silent", "4"]
    assert "warning" not in compared((spikes, spikes)).table()
    assert "warning: the network sent no spikes (fc0): nothing was compared" in compared((silence, silence)).table()
