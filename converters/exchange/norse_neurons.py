"""Neurons of norse and their counterparts."""

import functools
import math
from typing import Any

import numpy as np
import torch
from torch import nn

from snnfer._optional import require
from snnfer.converters.exchange.steps import refused
from snnfer.converters.exchange.surrogates import find_surrogate, or_replaced
from snnfer.errors import ConversionError, SnnferError
from snnfer.neurons import IF, LI, LIF, PLIF, Neuron, Sigmoid, SuperSpike, Surrogate, Triangle

_METHODS: dict[Surrogate, tuple[str, float]] = {
    SuperSpike(1.0): ("super", 1.0),
    Triangle(1.0): ("triangle", 1.0),
    Sigmoid(4.0): ("tanh", 2.0),
}
"""Surrogates that norse has too, by its name and alpha."""
_OWN_METHOD = ("super", 100.0)
"""norse's default."""


class Gain(nn.Module):
    """Multiplies a current, so that the neuron behind it, which divides, adds the current as it was.

    Args:
        factor: The time constant of the neuron, in steps.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor

    def extra_repr(self) -> str:
        return f"factor={self.factor:g}"


def norse_cell(name: str, neuron: Any, *, over_time: bool) -> nn.Module:
    """A neuron of norse with the spikes of `neuron`.

    Raises:
        ConversionError: norse has no such neuron.
    """
    if type(neuron) is IF:
        return _iaf(name, neuron, over_time=over_time)
    if type(neuron) not in (LIF, PLIF, LI):
        raise _not_in_norse(name, neuron, "norse has no such neuron")
    rate = neuron.w.detach().sigmoid().item() if isinstance(neuron, PLIF) else 1 / neuron.tau
    cell = _leaky(neuron, rate, over_time=over_time)
    if neuron.decay_input:
        return cell
    if not rate > 0:
        raise _not_in_norse(name, neuron, "a time constant without end, and input that does not decay")
    return require("norse.torch", extra="norse").SequentialState(Gain(1 / rate), cell)


def read_cell(name: str, cell: Any, replace_surrogate: Surrogate | None) -> Neuron:
    """The neuron of snnfer with the spikes of a neuron of norse.

    Raises:
        ConversionError: snnfer has no such neuron.
    """
    functional = require("norse.torch", extra="norse").functional
    kind = getattr(cell.activation, "__name__", "")
    expected = {
        "iaf_feed_forward_step": functional.iaf.iaf_feed_forward_step,
        "lif_box_feed_forward_step": functional.lif_box.lif_box_feed_forward_step,
        "lif_feed_forward_step": functional.lif.lif_feed_forward_step,
        "li_box_feed_forward_step": functional.leaky_integrator_box.li_box_feed_forward_step,
    }.get(kind)
    if cell.activation is not expected:
        raise refused(name, cell, f"snnfer has no neuron of the equations {kind}")
    for key in ("v_th", "v_leak", "tau_syn_inv"):  # IAF lets its v_reset require a gradient by itself
        if getattr(getattr(cell.p, key, None), "requires_grad", False):
            raise refused(name, cell, f"{key} is learned")
    try:
        return _neuron(name, cell, kind, replace_surrogate)
    except ConversionError:
        raise
    except SnnferError as error:
        raise ConversionError(f"'{name}' cannot be a neuron of snnfer ({error.given})") from error


def _neuron(name: str, cell: Any, kind: str, replace_surrogate: Surrogate | None) -> Neuron:
    if kind == "iaf_feed_forward_step":
        rest = _value(name, cell, "v_reset")
        return IF(v_reset=rest, **_firing(name, cell, replace_surrogate))
    rate, rest = cell.dt * _value(name, cell, "tau_mem_inv"), _value(name, cell, "v_leak")
    if kind == "li_box_feed_forward_step":
        return LI(tau=1 / rate, v_rest=rest)
    if kind == "lif_feed_forward_step" and not math.isclose(
        cell.dt * _value(name, cell, "tau_syn_inv"), 1, rel_tol=1e-6
    ):
        raise refused(name, cell, "a synaptic current that lasts (dt * tau_syn_inv is not 1)")
    reset = _reset(name, cell)
    if reset == "hard" and _value(name, cell, "v_reset") != rest:
        raise refused(name, cell, f"it leaks to {rest:g} and resets to {_value(name, cell, 'v_reset'):g}")
    firing = {"v_reset": rest, "reset": reset, **_firing(name, cell, replace_surrogate)}
    if not cell.p.tau_mem_inv.requires_grad:
        return LIF(tau=1 / rate, **firing)
    return PLIF(init_tau=1 / rate, decay_input=True, **firing)


def _lasts(rate: float) -> bool:
    """Whether a current is still there after a step."""
    return not math.isclose(rate, 1, rel_tol=1e-6)


def _firing(name: str, cell: Any, replace_surrogate: Surrogate | None) -> dict[str, Any]:
    """Threshold, surrogate, and that the gradient goes through the reset."""
    threshold = require("norse.torch.functional.threshold", extra="norse").threshold
    alpha = cell.p.alpha if isinstance(cell.p.alpha, torch.Tensor) else torch.tensor(float(cell.p.alpha))
    found = find_surrogate(lambda u: threshold(u, cell.p.method, alpha), float(alpha))
    return {
        "v_threshold": _next(_value(name, cell, "v_th"), np.inf),
        "surrogate": or_replaced(found, name, cell.p.method, replace_surrogate),
        "detach_reset": False,
    }


def _reset(name: str, cell: Any) -> str:
    methods = require("norse.torch.functional.reset", extra="norse")
    method = getattr(cell.p, "reset_method", methods.reset_value)  # LIF has none, and resets to a value
    if method is methods.reset_value:
        return "hard"
    if method is methods.reset_subtract:
        return "soft"
    raise refused(name, cell, f"a reset of its own ({getattr(method, '__name__', method)})")


def _iaf(name: str, neuron: IF, *, over_time: bool) -> nn.Module:
    norse = require("norse.torch", extra="norse")
    if neuron.reset == "soft":
        raise _not_in_norse(name, neuron, "a soft reset, where IAFCell of norse resets to a value")
    firing = _norse_firing(neuron)
    return (norse.IAF if over_time else norse.IAFCell)(norse.IAFParameters(**firing), dt=1.0)


def _leaky(neuron: LIF | PLIF | LI, rate: float, *, over_time: bool) -> nn.Module:
    norse = require("norse.torch", extra="norse")
    snn = require("norse.torch.module.snn", extra="norse")
    resets = require("norse.torch.functional.reset", extra="norse")
    if isinstance(neuron, LI):
        rest = neuron.v_rest
        parameters: Any = norse.LIBoxParameters(tau_mem_inv=torch.tensor(rate), v_leak=torch.tensor(float(rest)))
        state, activation = norse.LIBoxState, norse.functional.leaky_integrator_box.li_box_feed_forward_step
    else:
        rest = neuron.v_reset
        parameters = norse.LIFBoxParameters(
            tau_mem_inv=torch.tensor(rate),
            v_leak=torch.tensor(float(rest)),
            reset_method=resets.reset_value if neuron.reset == "hard" else resets.reset_subtract,
            **_norse_firing(neuron),
        )
        state, activation = norse.LIFBoxFeedForwardState, norse.functional.lif_box.lif_box_feed_forward_step
    if not over_time:
        return (norse.LIBoxCell if isinstance(neuron, LI) else norse.LIFBoxCell)(parameters, dt=1.0)
    return snn.SNN(activation, functools.partial(_at_rest, state, rest), parameters, dt=1.0)


def _at_rest(state: Any, rest: float, x: torch.Tensor) -> Any:
    """State of norse before the first of the steps `x`."""
    return state(v=torch.full_like(x[0], rest))


def _norse_firing(neuron: IF | LIF | PLIF) -> dict[str, Any]:
    method, alpha = _METHODS.get(neuron.surrogate, _OWN_METHOD)
    return {
        "v_th": torch.tensor(_next(neuron.v_threshold, -np.inf)),
        "v_reset": torch.tensor(float(neuron.v_reset)),
        "method": method,
        "alpha": torch.tensor(alpha),
    }


def _not_in_norse(name: str, neuron: Neuron, reason: str) -> ConversionError:
    return ConversionError(
        f"'{name}' is a {type(neuron).__name__}", expected="neurons that norse has", cause=reason,
        fix='pass neurons="snnfer", which takes the neuron along',
    )  # fmt: skip


def _value(name: str, cell: Any, key: str) -> float:
    """One number for all neurons."""
    values = torch.unique(torch.as_tensor(_fields(cell.p)[key]).detach())
    if len(values) != 1:
        raise refused(name, cell, f"its neurons differ in {key}")
    return values.item()


def _fields(parameters: Any) -> dict[str, Any]:
    """What the parameters of a cell hold, whatever kind of named tuple they are."""
    return {key: getattr(parameters, key) for key in parameters._fields}


def _next(value: float, towards: float) -> float:
    """The next float32: norse fires above its threshold, snnfer at it."""
    return float(np.nextafter(np.float32(value), np.float32(towards)))
