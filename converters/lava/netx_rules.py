"""What a netx file must keep to run as it says, on lava's simulator and on a chip.

lava's reader cuts, clips or ignores without a word what it does not expect; each rule here stands for one such case.
"""

from typing import Any

import numpy as np

from snnfer.converters.graph import Pair, Shape
from snnfer.converters.loihi.graph import DECAY_ONE, MAX_BIAS, MAX_THRESHOLD, WEIGHT_RANGE
from snnfer.errors import ExportError

NOT_LOADED = ("pool", "convT", "unpool", "average", "concat", "dense_comp")
"""Types that slayer writes and netx cannot load."""
NEURON_DEFAULTS = {"refDelay": 1, "gradedSpike": 0, "wgtExp": 0, "weight_exp": 0}
"""Keys that netx ignores, with the values that it computes with."""
MAX_DELAY = 62


def check_layers(layers: Any) -> None:
    """Raise `ExportError` for the first rule that the group ``layer`` of a file breaks."""
    numbers = sorted(int(key) if key.isdecimal() else -1 for key in layers)
    if numbers != list(range(len(numbers))):
        raise ExportError(
            f"the layers of the file are numbered {', '.join(sorted(layers))}",
            expected=f"0 to {len(numbers) - 1} without a gap, because netx counts them",
        )
    if not numbers:
        raise ExportError("the file holds no layers", expected="an input and at least one conv or dense layer")
    shape = _input_shape(layers["0"])
    flat, n_neurons = False, 0
    for number in numbers[1:]:
        group, kind = layers[str(number)], text_of(_get(layers[str(number)], "type", str(number)))
        where = f"layer {number} ({kind})"
        if kind == "flatten":
            if len(shape) != 3 and n_neurons:
                raise ExportError(f"{where} flattens a vector", expected="maps", cause="two flatten layers")
            shape, flat = (int(np.prod(shape)),), True
            continue
        if kind == "conv" and flat:
            raise ExportError(f"{where} follows a flatten", expected="maps, because netx drops that flatten")
        shape = _synapses(group, kind, shape, where)
        _neuron(group, where)
        flat, n_neurons = False, n_neurons + 1
    if not n_neurons:
        raise ExportError("the file holds no conv or dense layer", expected="at least one")
    if flat:
        raise ExportError("the last layer of the file is a flatten", expected="a dense layer behind it")


def text_of(dataset: Any) -> str:
    """Text of a netx string: ``(1,)`` or scalar bytes."""
    value = np.asarray(dataset[()]).reshape(-1)[0]
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)


def pair_of(dataset: Any, where: str, key: str) -> Pair:
    """Height and width from a scalar or a pair."""
    value = np.asarray(dataset[()])
    if value.shape not in ((), (2,)):
        raise ExportError(
            f"{where} has a {key} of shape {list(value.shape)}", expected="one number, or height and width"
        )
    height, width = np.broadcast_to(value, 2).astype(np.int64).tolist()
    return height, width


def weight_of(group: Any, kind: str, n_out: int) -> np.ndarray:
    """Weights as int32 ``[O, I, kH, kW]`` or ``[O, I]``; the file may hold five dimensions or one."""
    weight = group["weight"][()].astype(np.int32)
    return weight.reshape(weight.shape[:4]) if kind == "conv" else weight.reshape(n_out, -1)


def check_weights(weight: np.ndarray, where: str, *, one_sign: bool) -> None:
    """Raise `ExportError` for weights that the file, lava or a chip would change.

    Args:
        weight: As the file holds them.
        where: The layer.
        one_sign: Whether weights of one sign get a range of their own, as netx does for dense layers.
    """
    if not weight.size:
        raise ExportError(f"{where} has no weights: their shape is {list(weight.shape)}", expected="at least one")
    _whole(weight, f"weights of {where}")
    low, high = int(weight.min()), int(weight.max())
    if low == high == 0:
        raise ExportError(
            f"all weights of {where} are zero",
            expected="at least one other, because netx divides by the largest",
            cause="a layer that has learnt nothing, or one that vanishes beside the largest weight when rounded",
        )
    mixed = low < 0 <= high or not one_sign
    allowed = WEIGHT_RANGE if mixed else (0, 255) if low >= 0 else (-255, -1)
    if low < allowed[0] or high > allowed[1]:
        fate = "clips them" if mixed else "turns them into other numbers"
        raise ExportError(
            f"the weights of {where} span {low} to {high}",
            expected=f"{allowed[0]} to {allowed[1]}, because netx {fate} or the chip cannot hold them",
            cause="weights that overflow after folding",
            fix="quantise with a smaller scale",
        )
    if mixed and max(-low - 1, high) > 127 and (weight % 2).any():
        raise ExportError(
            f"{where} has odd weights up to {max(-low, high)}",
            expected="even ones above 127: a chip has 8 bits, lava's simulator alone has 9",
        )


def _input_shape(group: Any) -> Shape:
    kind = text_of(_get(group, "type", "0"))
    if kind != "input":
        raise ExportError(
            f"the first layer of the file is '{kind}'", expected="'input', from which netx learns the size of the maps"
        )
    if "neuron" in group:
        raise ExportError(
            "the input layer has neurons",
            expected="none, because netx does not connect their input",
            fix="drop layer/0/neuron and give spikes to the first layer",
        )
    shape = tuple(np.asarray(_get(group, "shape", "0")[()]).reshape(-1).astype(np.int64).tolist())
    if len(shape) not in (1, 3) or min(shape) < 1:
        raise ExportError(f"the input has the shape {list(shape)}", expected="(C, H, W) or (features,)")
    return shape


def _synapses(group: Any, kind: str, shape: Shape, where: str) -> Shape:
    """Check synapses; returns the shape behind them."""
    if kind in NOT_LOADED:
        raise ExportError(f"{where} cannot be loaded by netx", expected="conv, dense, dense_rec or flatten")
    if kind not in ("conv", "dense", "dense_rec"):
        raise ExportError(f"{where} is of an unknown type", expected="input, conv, dense, dense_rec or flatten")
    if "weight" in group and not hasattr(group["weight"], "dtype"):
        raise ExportError(f"{where} has complex weights", expected="real ones, of leaky integrate-and-fire neurons")
    written = tuple(np.asarray(_get(group, "shape", where)[()]).reshape(-1).astype(np.int64).tolist())
    weight = _get(group, "weight", where)[()]
    check_weights(weight, where, one_sign=kind != "conv")
    computed = _conv(group, weight, shape, where) if kind == "conv" else _dense(group, weight, shape, written, where)
    if kind == "conv" and written != computed:
        raise ExportError(
            f"{where} says its shape is {list(written)}", expected=f"{list(computed)}, as its weights say"
        )
    _bias(group, computed, where)
    _delay(group, kind, weight, where)
    if kind == "dense_rec":
        check_weights(_get(group, "weight_rec", where)[()], f"{where}, recurrent", one_sign=True)
    return computed


def _conv(group: Any, weight: np.ndarray, shape: Shape, where: str) -> Shape:
    if weight.ndim not in (4, 5) or weight.shape[4:] not in ((), (1,)):
        raise ExportError(
            f"{where} has weights of shape {list(weight.shape)}",
            expected="[O, I, kH, kW], because netx gives convolutions no taps in time",
        )
    groups = np.asarray(_get(group, "groups", where)[()])
    if groups.shape != ():
        raise ExportError(f"{where} has groups of shape {list(groups.shape)}", expected="one number without dimensions")
    if groups < 1:
        raise ExportError(f"{where} has {groups} groups", expected="at least 1")
    if len(shape) != 3 or weight.shape[1] * int(groups) != shape[0] or weight.shape[0] % int(groups):
        raise ExportError(
            f"{where} reads {weight.shape[1] * int(groups)} channels in {int(groups)} groups",
            expected=f"an input of shape {list(shape)}",
        )
    stride, padding, dilation = (
        pair_of(_get(group, key, where), where, key) for key in ("stride", "padding", "dilation")
    )
    if min(*stride, *dilation) < 1 or min(padding) < 0:
        raise ExportError(
            f"{where} has stride {list(stride)}, padding {list(padding)} and dilation {list(dilation)}",
            expected="stride and dilation above 0, padding not below",
        )
    axes = zip(shape[1:], weight.shape[2:4], stride, padding, dilation, strict=True)
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]
    if min(size) < 1:
        raise ExportError(f"{where} has a kernel that is larger than its maps of {shape[1]} x {shape[2]}")
    return (weight.shape[0], *size)


def _dense(group: Any, weight: np.ndarray, shape: Shape, written: Shape, where: str) -> Shape:
    n_out = int(np.prod(written))
    if len(shape) != 1:
        raise ExportError(f"{where} reads maps of shape {list(shape)}", expected="a flatten layer before it")
    if weight.ndim not in (1, 2) or weight.size != n_out * shape[0] or (weight.ndim == 2 and len(weight) != n_out):
        raise ExportError(f"{where} has weights of shape {list(weight.shape)}", expected=f"[{n_out}, {shape[0]}]")
    return (n_out,)


def _bias(group: Any, shape: Shape, where: str) -> None:
    if "bias" not in group:
        return
    bias = group["bias"][()]
    _whole(bias, f"biases of {where}")
    if bias.shape not in ((shape[0],), shape[::-1]):
        neurons = f" or, per neuron, {list(shape[::-1])} (width first)" if len(shape) == 3 else ""
        raise ExportError(f"{where} has biases of shape {list(bias.shape)}", expected=f"[{shape[0]}]{neurons}")
    if np.abs(bias).max() > MAX_BIAS:
        raise ExportError(
            f"{where} has a bias of {int(bias[np.abs(bias).argmax()] if bias.ndim == 1 else np.abs(bias).max())}",
            expected=f"-{MAX_BIAS} to {MAX_BIAS}: a chip has 13 bits, lava's simulator does not check",
        )


def _delay(group: Any, kind: str, weight: np.ndarray, where: str) -> None:
    if "delay" not in group:
        return
    delay = np.asarray(group["delay"][()])
    if kind == "conv":
        raise ExportError(f"{where} has delays", expected="none, because netx ignores those of convolutions")
    _whole(delay, f"delays of {where}")
    if delay.min() < 0 or delay.max() > MAX_DELAY:
        raise ExportError(f"{where} has delays up to {int(delay.max())}", expected=f"0 to {MAX_DELAY}: netx clips them")
    if delay.ndim == 1 and weight.ndim == 2 and weight.shape[0] == weight.shape[1] == len(delay):
        raise ExportError(
            f"{where} has {len(delay)} delays for a square weight",
            expected="a delay per synapse [O, I], because netx takes those of the inputs for those of the outputs",
        )


def _neuron(group: Any, where: str) -> None:
    neuron = _get(group, "neuron", where, " (without it netx takes a threshold of 2^17, more than a chip holds)")
    kind = text_of(_get(neuron, "type", f"{where}, neuron"))
    if kind not in ("CUBA", "LOIHI"):
        raise ExportError(f"{where} has neurons of type '{kind}'", expected="CUBA or LOIHI, leaky integrate-and-fire")
    if "messageBits" in neuron:
        raise ExportError(
            f"{where} asks for graded spikes (messageBits)", expected="spikes without a payload: netx fails to load it"
        )
    for key, value in NEURON_DEFAULTS.items():
        if key in neuron and (np.asarray(neuron[key][()]) != value).any():
            raise ExportError(
                f"{where} has {key} = {neuron[key][()]}",
                expected=f"{value}, because netx ignores it and computes with that",
            )
    for key, limit in (("iDecay", DECAY_ONE), ("vDecay", DECAY_ONE), ("vThMant", MAX_THRESHOLD)):
        value = np.asarray(_get(neuron, key, f"{where}, neuron")[()])
        if value.shape not in ((), (1,)):
            raise ExportError(
                f"{where} has {value.size} values of {key}", expected="one: a chip has one per population of neurons"
            )
        _whole(value, f"{key} of {where}")
        if not 0 <= int(value.reshape(-1)[0]) <= limit:
            raise ExportError(f"{where} has {key} = {int(value.reshape(-1)[0])}", expected=f"0 to {limit}")


def _get(group: Any, key: str, where: str, note: str = "") -> Any:
    if key not in group:
        raise ExportError(
            f"{where if where.startswith('layer') else 'layer ' + where} has no '{key}'{note}",
            cause="a file that was not written to the end, or by hand",
        )
    return group[key]


def _whole(values: np.ndarray, what: str) -> None:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all() or (array != np.trunc(array)).any():
        raise ExportError(
            f"{what}: numbers that are not whole",
            expected="integers, because netx cuts off what stands behind the point",
            fix="quantise before writing",
        )
