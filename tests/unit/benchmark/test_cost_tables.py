"""Costs beside accuracies, worked out by hand."""

import pytest
import torch

from snnfer.benchmark._cost_tables import cost_table, energy_table, scenario_facts
from snnfer.benchmark.traces import energy_estimates
from snnfer.profiling import count_operations

SCORE = {"estimate": 0.5, "low": 0.4, "high": 0.6}
METRICS = {
    "intervals": {"level": 0.95},
    "networks": [
        {"model": name, "modality": "events", "variant": "standard", "top1": SCORE} for name in ("a step", "base")
    ],
}


def entry(label, n_out, x):
    """What a run stores of a linear layer without bias."""
    report = count_operations(torch.nn.Linear(4, n_out, bias=False), torch.tensor([[x]]))
    return report.to_dict() | {"model": label, "modality": "events", "energy": energy_estimates(report)}


@pytest.fixture
def operations():
    """4 x 10 multiply-accumulates, all of them at nonzero inputs; then 4 x 5, half of them."""
    return [entry("base", 10, [2.0, 3.0, 4.0, 5.0]), entry("a step", 5, [2.0, 3.0, 0.0, 0.0])]


def test_costs_stand_in_the_order_of_the_config_beside_what_was_published(operations):
    published = [
        {"model": "base", "modality": "events", "top1": 70.0, "macs_g": 21.29, "source": "A"},
        {"model": "a step", "modality": "events", "top1": None, "macs_g": 4.68, "energy_share": 21.97, "source": "B"},
    ]
    table = cost_table(METRICS, operations, published)
    base, step = (dict(zip(table.header, row, strict=True)) for row in table.rows)
    assert (base["model"], step["model"]) == ("base", "a step")
    assert base["top-1 (%) [95 % interval]"] == "50.0 [40.0, 60.0]"
    assert (base["parameters"], step["parameters"]) == ("40", "20")
    assert (base["MACs per clip, dense"], step["MACs per clip, dense"]) == ("40", "20")
    assert (base["MACs per clip"], step["MACs per clip"]) == ("40", "10")
    assert (base["published MACs"], step["published MACs"]) == ("21.29 G", "4.68 G")
    assert "published parameters" not in table.header  # nothing was given
    shares = "energy (% of the first), event-driven / dense"
    assert (base[shares], step[shares]) == ("100.0 / 100.0", "25.0 / 50.0")
    assert (base["published energy (%)"], step["published energy (%)"]) == ("\u2013", "21.97")
    assert table.notes == ("Published counts, of networks of the published size: A; B.",)


def test_energies_of_every_scenario_in_millijoules(operations):
    table = energy_table(operations)
    assert table is not None
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["45nm_fp32"] == ["1.84e-07 / 1.84e-07", "4.6e-08 / 9.2e-08"]  # MACs x 4.6 pJ
    assert rows["loihi2"] == rows["loihi"] == ["n/a"] * 2
    assert "estimates, not measurements" in table.notes[0]
    assert table.notes[1].startswith("n/a: ")
    assert "not published" in table.notes[1]
    assert "no spike reached a synapse" in table.notes[1]
    assert set(scenario_facts(operations)) == set(rows)
    assert "Horowitz" in scenario_facts(operations)["45nm_fp32"]


def test_runs_from_before_energies_were_stored(operations):
    old = [{key: value for key, value in o.items() if key != "energy"} for o in operations]
    assert energy_table(old) is None
    assert scenario_facts(old) == {}
    assert not [name for name in cost_table(METRICS, old, []).header if "energy" in name or "published" in name]
