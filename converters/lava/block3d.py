"""Builds convolutions with time taps as a direct lava graph and runs it; started by lava's own interpreter.

Usage: ``python block3d.py JOB.npz RESULT.npz``. Like `worker` beside it, this file needs lava-nc and knows neither
snnfer nor torch. A netx file cannot carry a tap over time: its convolutions ignore delays, and two neurons have one
synapse. Here tap k of K is a group of synapses of its own onto the same neurons, with a delay of ``K - 1 - k`` steps.

A job holds ``x`` (``[T, N, C, H, W]``, 0 and 1) and, for each layer i from 0, ``i.weight`` (``[O, I / groups, K, kH,
kW]``), ``i.bias``, ``i.shape`` and ``i.settings``: threshold, current decay, voltage decay, groups, and height and
width of stride, padding and dilation. A result holds ``layer<i>`` (booleans ``[T, N, *shape]``) or ``error``.
"""

import os
import sys
from types import SimpleNamespace

import numpy as np
from scipy.sparse import csr_matrix  # pyright: ignore[reportMissingImports]

sys.path.append(os.path.dirname(__file__))  # behind all packages: the interpreter starts in isolated mode
import worker  # pyright: ignore[reportMissingImports]  # the file beside this one


def read_layer(job, i):
    """The arrays of layer `i` under their names."""
    threshold, current_decay, voltage_decay, groups, *pairs = job[f"{i}.settings"].tolist()
    return SimpleNamespace(
        weight=job[f"{i}.weight"],
        bias=job[f"{i}.bias"],
        shape=tuple(job[f"{i}.shape"].tolist()),
        threshold=threshold,
        current_decay=current_decay,
        voltage_decay=voltage_decay,
        groups=groups,
        stride=pairs[0:2],
        padding=pairs[2:4],
        dilation=pairs[4:6],
    )


def synapses_of(layer, weight, input_shape):
    """All synapses of one tap ``[O, I / groups, kH, kW]`` as a matrix between flattened ``(W, H, C)`` maps."""
    (channels, height, width), (outputs, out_height, out_width) = input_shape, layer.shape
    o, i, y, x, ky, kx = np.indices((*weight.shape[:2], out_height, out_width, *weight.shape[2:])).reshape(6, -1)
    source_y = y * layer.stride[0] - layer.padding[0] + ky * layer.dilation[0]
    source_x = x * layer.stride[1] - layer.padding[1] + kx * layer.dilation[1]
    source = (o // (outputs // layer.groups)) * weight.shape[1] + i
    values = weight[o, i, ky, kx]
    keep = (values != 0) & (source_y >= 0) & (source_y < height) & (source_x >= 0) & (source_x < width)
    rows = ((x * out_height + y) * outputs + o)[keep]
    columns = ((source_x * height + source_y) * channels + source)[keep]
    return csr_matrix((values[keep], (rows, columns)), shape=(np.prod(layer.shape), np.prod(input_shape)))


def connect(layer, out, input_shape, neurons):
    """Synapses from the port `out` to `neurons`, one group per tap."""
    from lava.proc.conv.process import Conv  # pyright: ignore[reportMissingImports]
    from lava.proc.sparse.process import DelaySparse, Sparse  # pyright: ignore[reportMissingImports]

    taps = layer.weight.shape[2]
    if taps == 1:
        # lava's Conv is a convolution over (W, H, C): both axes of the kernel are flipped and swapped
        kernel = layer.weight[:, :, 0, ::-1, ::-1].transpose(0, 3, 2, 1)
        settings = {key: tuple(getattr(layer, key)[::-1]) for key in ("stride", "padding", "dilation")}
        conv = Conv(weight=kernel, input_shape=input_shape[::-1], groups=layer.groups, **settings)
        out.connect(conv.s_in)
        conv.a_out.connect(neurons.a_in)
        return
    for tap in range(taps):
        weights = synapses_of(layer, layer.weight[:, :, tap], input_shape)
        if not weights.nnz:
            continue
        delay = taps - 1 - tap
        if delay:
            delays = csr_matrix((np.full(weights.nnz, delay), weights.indices, weights.indptr), shape=weights.shape)
            group = DelaySparse(weights=weights, delays=delays, max_delay=taps - 1)
        else:
            group = Sparse(weights=weights)
        out.flatten().connect(group.s_in)
        group.a_out.reshape(layer.shape[::-1]).connect(neurons.a_in)


def build(layers, x):
    """Source, neurons of each layer, and steps from the start of one sample to that of the next."""
    from lava.proc import io  # pyright: ignore[reportMissingImports]
    from lava.proc.lif.process import LIFReset  # pyright: ignore[reportMissingImports]

    n_frames, n_samples = x.shape[:2]
    interval = n_frames + layers[0].weight.shape[2] - 1  # delay lines are not reset, so they run empty in between
    data = np.zeros((n_samples * interval + len(layers) + 1, *x.shape[2:]), np.int32)
    for sample in range(n_samples):
        data[sample * interval : sample * interval + n_frames] = x[:, sample]
    source = io.source.RingBuffer(data=np.ascontiguousarray(data.T))
    out, shape, all_neurons = source.s_out, x.shape[2:], []
    for number, layer in enumerate(layers, start=1):
        neurons = LIFReset(
            shape=layer.shape[::-1],
            du=layer.current_decay - 1,  # lava adds 1
            dv=layer.voltage_decay,
            vth=layer.threshold,
            bias_mant=np.broadcast_to(layer.bias, layer.shape[::-1]).copy(),
            bias_exp=6,
            reset_interval=interval,
            reset_offset=number + 1,
        )
        connect(layer, out, shape, neurons)
        out, shape = neurons.s_out, layer.shape
        all_neurons.append(neurons)
    return all_neurons, interval, len(data)


def simulate(layers, x):
    """Spikes of each layer ``[T, N, *shape]``."""
    import lava.proc.sparse.models  # pyright: ignore[reportMissingImports]  # noqa: F401  (lava finds what is loaded)
    from lava.magma.core.run_conditions import RunSteps  # pyright: ignore[reportMissingImports]
    from lava.magma.core.run_configs import Loihi2SimCfg  # pyright: ignore[reportMissingImports]
    from lava.proc import io  # pyright: ignore[reportMissingImports]

    io.sink.AbstractPyReceiveModel.run_spk = worker.receive
    neurons, interval, n_steps = build(layers, x)
    recorded = [worker.record(SimpleNamespace(out=population.s_out), n_steps) for population in neurons]
    try:
        neurons[0].run(condition=RunSteps(n_steps), run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
    except RuntimeError as error:
        raise RuntimeError(worker.reason(neurons[0]) or str(error)) from error
    neurons[0].stop()
    result = {}
    for i, spikes in enumerate(recorded):
        maps = spikes.transpose(0, 3, 2, 1).astype(bool)  # [steps, C, H, W]
        starts = [sample * interval + i + 1 for sample in range(x.shape[1])]
        result[f"layer{i}"] = np.stack([maps[start : start + len(x)] for start in starts], axis=1)
    return result


def answer(job):
    """Run the layers that `job` describes."""
    return simulate([read_layer(job, i) for i in range(int(job["n_layers"]))], job["x"])


if __name__ == "__main__":
    sys.exit(worker.main(answer, *sys.argv[1:]))
