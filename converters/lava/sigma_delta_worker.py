"""Runs a sigma-delta file on lava's fixed-point simulator; started by the interpreter of lava's own environment.

Usage: ``python sigma_delta_worker.py JOB.npz RESULT.npz``. Like `worker` beside it, this file needs lava-nc, lava-dl
and h5py and knows neither snnfer nor torch. A job holds ``path`` and ``x`` (``[S, *shape]``, whole numbers, one clip).
A result holds ``layer<number>`` from 0, the delta encoder: messages ``[S, *shape]``, ``build_s`` and ``run_s``; or
``error``.
"""

import os
import sys
import time

import numpy as np

sys.path.append(os.path.dirname(__file__))  # behind all packages: the interpreter starts in isolated mode
import worker  # pyright: ignore[reportMissingImports]  # the file beside this one


def use_state_exponents(hdf5):
    """Let netx read ``neuron/stateExp``, which gives every layer its own state exponent."""
    original = hdf5.Network.get_neuron_params

    def get_neuron_params(config, *args, **kwargs):
        parameters = original(config, *args, **kwargs)
        if "stateExp" in config.keys():  # noqa: SIM118  (lava's NetDict is no container)
            parameters["state_exp"] = int(config.f["stateExp"][()])
        return parameters

    hdf5.Network.get_neuron_params = staticmethod(get_neuron_params)


def simulate(path, x):
    """Messages of the delta encoder and of every layer for one clip."""
    from lava.lib.dl.netx import hdf5  # pyright: ignore[reportMissingImports]
    from lava.magma.core.run_conditions import RunSteps  # pyright: ignore[reportMissingImports]
    from lava.magma.core.run_configs import Loihi2SimCfg  # pyright: ignore[reportMissingImports]
    from lava.proc import io  # pyright: ignore[reportMissingImports]

    started = time.perf_counter()
    io.sink.AbstractPyReceiveModel.run_spk = worker.receive
    use_state_exponents(hdf5)
    net = hdf5.Network(net_config=path, spike_exp=0)
    source = io.source.RingBuffer(data=np.ascontiguousarray(x.T.astype(np.int32)))
    source.s_out.connect(net.in_layer.neuron.a_in)  # netx never wires the port of its input block
    recorded = [worker.record(layer, len(x), np.int32) for layer in net.layers]
    try:
        settings = Loihi2SimCfg(select_tag="fixed_pt")
        net.create_runtime(run_cfg=settings)
        built = time.perf_counter()
        net.run(condition=RunSteps(len(x)), run_cfg=settings)
        ran = time.perf_counter()
    except RuntimeError as error:
        raise RuntimeError(worker.reason(net) or str(error)) from error
    net.stop()
    result = {"build_s": built - started, "run_s": ran - built}
    for i, messages in enumerate(recorded):
        result[f"layer{i}"] = messages.transpose(0, *range(messages.ndim - 1, 0, -1))  # [S, C, H, W]
    return result


def answer(job):
    """Run the file that `job` names."""
    return simulate(str(job["path"]), job["x"])


if __name__ == "__main__":
    sys.exit(worker.main(answer, *sys.argv[1:]))
