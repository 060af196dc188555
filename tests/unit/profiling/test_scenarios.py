"""Energy scenarios and break-even, by pencil."""

import dataclasses

import pytest
import torch
from torch import nn

from snnfer.errors import ConfigError
from snnfer.layers import SpikingSequential
from snnfer.neurons import IF, SoftSpiking
from snnfer.profiling import SCENARIOS, break_even, count_operations, estimate_energy, find_scenario
from snnfer.profiling.report import LayerOperations, OperationReport
from snnfer.profiling.scenarios import NOTICE, energy_lines


def make_report(**counts):
    layers = (
        LayerOperations("in", "Linear", dense_macs=1000, macs=100, inputs=20, nonzero_inputs=2, outputs=50,
                        dense_weight_reads=1000),
        LayerOperations("neuron", "IF", neuron_updates=50, spikes=10, state_accesses=100),
        LayerOperations("out", "Linear", dense_macs=500, acs=100, inputs=50, nonzero_inputs=10, outputs=10,
                        dense_weight_reads=500),
    )  # fmt: skip
    report = OperationReport("network", 1, 1, layers, 1500, 6000, unattributed_macs=0)
    return dataclasses.replace(report, **counts)


BITS_FP32 = 32 * (200 + 100 + 12 + 60)  # synaptic operations, states, nonzero inputs, outputs
BITS_FP32_DENSE = 32 * (1500 + 100 + 70 + 60)


@pytest.mark.parametrize(
    ("name", "event_driven_pj", "dense_pj"),
    [
        ("45nm_fp32", 100 * 4.6 + 100 * 0.9, 1500 * 4.6),
        ("45nm_int8", 100 * 0.23 + 100 * 0.03, 1500 * 0.23),
        ("45nm_fp32_sram_8k", 100 * 4.6 + 100 * 0.9 + 50 * 4.6 + BITS_FP32 * 10 / 64,
         1500 * 4.6 + 50 * 4.6 + BITS_FP32_DENSE * 10 / 64),
        ("45nm_int8_sram_1m", 100 * 0.23 + 100 * 0.03 + 50 * 0.23 + BITS_FP32 / 4 * 100 / 64,
         1500 * 0.23 + 50 * 0.23 + BITS_FP32_DENSE / 4 * 100 / 64),
        ("loihi", 200 * 23.6 + 50 * 81 + 10 * 1.7, None),
        ("loihi_inactive", 200 * 23.6 + 50 * 52 + 10 * 1.7, None),
    ],
)  # fmt: skip
def test_energy_by_pencil(name, event_driven_pj, dense_pj):
    estimate = estimate_energy(make_report(), find_scenario(name))
    assert estimate.event_driven_pj == pytest.approx(event_driven_pj)
    assert estimate.dense_pj == (None if dense_pj is None else pytest.approx(dense_pj))


def test_products_outside_layers_cost_energy_in_both():
    estimate = estimate_energy(make_report(unattributed_macs=10), find_scenario("45nm_fp32"))
    assert estimate.event_driven_pj == pytest.approx(110 * 4.6 + 100 * 0.9)
    assert estimate.dense_pj == pytest.approx(1510 * 4.6)


def test_loihi2_has_no_figure():
    estimate = estimate_energy(make_report(), find_scenario("loihi2"))
    assert (estimate.event_driven_pj, estimate.dense_pj, estimate.reason) == (None, None, "not published")


def test_a_network_without_spikes_does_not_run_on_loihi():
    report = count_operations(nn.Linear(3, 2), torch.ones(1, 1, 3))
    assert estimate_energy(report, find_scenario("loihi")).reason == "no figure: no spike reached a synapse"


def test_every_scenario_is_printed_with_its_constants_and_source():
    text = "\n".join(energy_lines([estimate_energy(make_report(), s) for s in SCENARIOS.values()]))
    assert NOTICE == "estimates, not measurements"
    assert text.startswith(f"energy per sample ({NOTICE})")
    for scenario in SCENARIOS.values():
        assert scenario.name in text
    for part in ("Horowitz", "ISSCC 2014", "Davies", "table 2", "4.6 pJ", "23.6 pJ", "not published"):
        assert part in text
    assert max(map(len, text.splitlines())) <= 110


def test_an_unknown_scenario_is_one_sentence():
    with pytest.raises(ConfigError, match=r"unknown energy scenario '7nm'; expected one of 45nm_fp32, .*loihi2\.$"):
        find_scenario("7nm")


def test_break_even_by_pencil():
    """Measured 10 spikes of 50; each costs 10 accumulates. E = 460 + 450 r; the dense twin costs 6900."""
    line = break_even(make_report(), find_scenario("45nm_fp32"))
    assert (line.quantity, line.measured) == ("firing rate", 0.2)
    assert line.fixed_pj == pytest.approx(460)
    assert line.slope_pj == pytest.approx(450)
    assert line.rate == pytest.approx((6900 - 460) / 450)
    assert line.verdict() == "always"
    assert line.measured_pj == pytest.approx(550)
    rates, energies = line.curve(50)
    assert (len(rates), rates[-1]) == (50, 1.0)
    assert energies == pytest.approx(460 + 450 * rates)


def test_break_even_against_another_network():
    other = OperationReport("ann", 1, 1, (LayerOperations("fc", "Linear", dense_macs=120, macs=60),), 0, 0, 0)
    line = break_even(make_report(), find_scenario("45nm_fp32"), against=other)
    assert line.reference == "ann"
    assert line.rate == pytest.approx((552 - 460) / 450)
    assert line.verdict() == "below 0.204"
    tiny = dataclasses.replace(other, layers=(LayerOperations("fc", "Linear", dense_macs=10),))
    assert break_even(make_report(), find_scenario("45nm_fp32"), against=tiny).verdict() == "never"


def test_break_even_without_neurons_is_about_the_input():
    """Skipping zeros of half the inputs reads every weight per operation, the dense twin once."""
    conv = nn.Conv1d(1, 1, 1, bias=False)
    x = torch.zeros(1, 1, 1, 8)
    x[..., :4] = 1

    class First(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv

        def forward(self, x):
            return self.conv(x[0])

    line = break_even(count_operations(First(), x), find_scenario("45nm_fp32_sram_8k"))
    assert (line.quantity, line.measured) == ("input density", 0.5)
    read = 32 * 10 / 64  # one value of 32 bit
    assert line.fixed_pj == pytest.approx(8 * read)  # outputs
    assert line.slope_pj == pytest.approx(8 * 4.6 + 8 * read + 8 * read)  # operations, weights, inputs
    assert line.reference_pj == pytest.approx(8 * 4.6 + (1 + 8 + 8) * read)


def test_break_even_of_soft_spikes_is_about_the_density():
    """Soft spikes are real values: all operations are MACs, and the energy follows how many of the inputs are zero."""
    network = SpikingSequential(SoftSpiking(theta=0.5), nn.Linear(4, 2, bias=False))
    report = count_operations(network, torch.tensor([[[0.9, 0.7, 0.6, 0.1]]]))
    line = break_even(report, find_scenario("45nm_fp32"))
    assert (line.quantity, line.measured) == ("input density", 0.75)
    assert (line.fixed_pj, line.slope_pj) == (0, pytest.approx(8 * 4.6))


def test_the_break_even_rate_makes_both_equal_when_counted_again():
    """The rate predicted from one input is where another input's counts meet the reference."""
    network = SpikingSequential(IF(), nn.Linear(100, 10, bias=False))
    scenario = find_scenario("45nm_fp32")
    sparse = (torch.arange(100) < 20).float()[None, None]
    other = OperationReport("ann", 1, 1, (LayerOperations("fc", "Linear", dense_macs=117),), 0, 0, 0)
    line = break_even(count_operations(network, sparse), scenario, against=other)
    n = round(line.rate * 100)
    at_break_even = count_operations(network, (torch.arange(100) < n).float()[None, None])
    assert estimate_energy(at_break_even, scenario).event_driven_pj == pytest.approx(line.reference_pj, rel=0.02)


@pytest.mark.parametrize(("scenario", "cause"), [("loihi2", "not published"), ("loihi", "only works on events")])
def test_scenarios_without_a_dense_figure_are_one_sentence(scenario, cause):
    with pytest.raises(ConfigError, match=f"no break-even under the scenario '{scenario}'.*{cause}"):
        break_even(make_report(), find_scenario(scenario))


def test_a_silent_network_is_one_sentence():
    report = count_operations(SpikingSequential(nn.Linear(2, 2), IF(v_threshold=100.0)), torch.ones(1, 1, 2))
    with pytest.raises(ConfigError, match="had no activity on this input"):
        break_even(report, find_scenario("45nm_fp32"))
