"""Runs a netx file on lava's fixed-point simulator; started by the interpreter of lava's own environment.

Usage: ``python worker.py JOB.npz RESULT.npz``. This file stands alone: it needs lava-nc, lava-dl and h5py, and knows
neither snnfer nor torch. A job holds ``path``, ``x`` (``[T, N, *]``, whole numbers), ``layers`` (numbers of the layers
to record, from 1) and ``message_bits`` (0 for spikes, else bits of a graded input). A result holds ``layer<number>``:
``[T, N, *]``, packed bits with their ``shape<number>``, ``build_s``, ``run_s`` and ``n_steps``, or ``error``.
"""

import dataclasses
import math
import mmap
import multiprocessing
import os
import sys
import time
import traceback
import types

import numpy as np

NO_TORCH = ("lava.lib.dl.slayer", "lava.lib.dl.slayer.neuron", "lava.lib.dl.slayer.neuron.rf")


def prepare_lava():
    """Make lava-nc 0.10 and lava-dl 0.6 importable on Python 3.11 and later, with numpy 2, without torch."""
    _tolerate_start_method()
    _make_defaults_hashable()
    _stand_in_for_slayer()
    _repair_reshape()
    _widen_groups()


def _tolerate_start_method():
    """lava sets the start method 'fork' on import, which fails where something has fixed one before."""
    original = multiprocessing.set_start_method

    def set_start_method(method, force=False):
        if multiprocessing.get_start_method(allow_none=True) != method:
            original(method, force=True)

    multiprocessing.set_start_method = set_start_method


def _make_defaults_hashable():
    """From 3.11 on, dataclasses refuse unhashable defaults; several of lava's configurations are such defaults."""
    if sys.version_info < (3, 11):
        return
    original = dataclasses._get_field

    def get_field(cls, name, *args):
        kind = type(cls.__dict__.get(name, None))
        if kind.__hash__ is None and kind.__module__.split(".")[0] == "lava":
            kind.__hash__ = object.__hash__
        return original(cls, name, *args)

    dataclasses._get_field = get_field


def _stand_in_for_slayer():
    """netx needs one function of slayer (of resonate-and-fire neurons); the rest of it imports torch."""
    for name in NO_TORCH:
        module = types.ModuleType(name)
        module.__dict__.update(__path__=[], neuron_params=_resonate_and_fire)
        sys.modules[name] = module
    import lava  # pyright: ignore[reportMissingImports]

    # lava asks for the source file of every module beside a process, so a stand-in needs one
    stub = types.ModuleType("lava.lib.dl.netx.sequential_modules")
    stub.__file__ = os.path.join(next(iter(lava.__path__)), "lib", "dl", "netx", "__init__.py")
    sys.modules[stub.__name__] = stub


def _resonate_and_fire(parameters, scale=64, decay_scale=4096):
    sine, cosine = parameters["sinDecay"], parameters["cosDecay"]
    return {
        "threshold": parameters["vThMant"] / scale,
        "period": 2 * math.pi / math.atan2(sine, cosine),
        "decay": 1 - math.hypot(sine, cosine) / decay_scale,
    }


def _repair_reshape():
    """numpy 2.4 has no ``np.reshape(newshape=...)`` any more, which lava calls."""
    from lava.magma.core.process.ports import ports  # pyright: ignore[reportMissingImports]

    ports.ReshapePort.get_transform_func_fwd = lambda self: lambda x: np.reshape(x, tuple(self.shape))
    ports.ReshapePort.get_transform_func_bwd = lambda self: lambda x: np.reshape(x, tuple(self.old_shape))


def _widen_groups():
    """lava keeps the groups of a convolution in signed 8 bits, and numpy 2 divides no 128 channels by such a number."""
    from lava.magma.core.model.py.type import LavaPyType  # pyright: ignore[reportMissingImports]
    from lava.proc.conv.models import AbstractPyConvModel  # pyright: ignore[reportMissingImports]

    AbstractPyConvModel.groups = LavaPyType(np.ndarray, np.int32, precision=8)


def record(block, n_steps, dtype: type = np.uint8):
    """Spikes, or messages of another `dtype`, ``[n_steps, *shape]`` of a block, in memory that all processes share.

    Reading a sink through lava's channels takes 20 us per value: hours for all layers of a network.
    """
    from lava.proc.io import sink  # pyright: ignore[reportMissingImports]

    shape = block.out.shape
    n_bytes = int(np.prod(shape)) * n_steps * np.dtype(dtype).itemsize
    spikes = np.frombuffer(mmap.mmap(-1, n_bytes), dtype).reshape(n_steps, *shape)
    ring = sink.RingBuffer(shape=shape, buffer=1)
    ring.proc_params["spikes"] = spikes
    block.out.connect(ring.a_in)
    return spikes


def receive(model):
    """Instead of the sink's own storing; lava forks, so the pages of ``spikes`` stay shared."""
    spikes, received = model.proc_params["spikes"], model.a_in.recv()
    spikes[model.time_step - 1] = received != 0 if spikes.dtype == np.uint8 else received


def simulate(path, x, layers, message_bits):
    """Run frames `x` ``[T, N, *]`` through the file, every sample from rest; arrays of the result."""
    from lava.lib.dl.netx import hdf5  # pyright: ignore[reportMissingImports]
    from lava.magma.core.run_conditions import RunSteps  # pyright: ignore[reportMissingImports]
    from lava.magma.core.run_configs import Loihi2SimCfg  # pyright: ignore[reportMissingImports]
    from lava.proc import io  # pyright: ignore[reportMissingImports]

    started = time.perf_counter()
    n_frames, n_samples = x.shape[:2]
    io.sink.AbstractPyReceiveModel.run_spk = receive
    # reset_offset=1: with netx's default every layer would be reset one step before its first frame arrives
    net = hdf5.Network(net_config=path, reset_interval=n_frames, reset_offset=1, input_message_bits=message_bits)
    n_steps = n_frames * n_samples + len(net) + 1
    source = io.source.RingBuffer(data=_frames(x, len(net.inp.shape), n_steps))
    source.s_out.connect(net.inp)
    recorded = {number: record(net.layers[number - 1], n_steps) for number in layers}
    try:
        settings = Loihi2SimCfg(select_tag="fixed_pt")
        net.create_runtime(run_cfg=settings)
        built = time.perf_counter()
        net.run(condition=RunSteps(n_steps), run_cfg=settings)
        ran = time.perf_counter()
    except RuntimeError as error:
        raise RuntimeError(reason(net) or str(error)) from error
    net.stop()
    result = {"build_s": built - started, "run_s": ran - built, "n_steps": n_steps}
    for number, spikes in recorded.items():
        result[f"layer{number}"], result[f"shape{number}"] = _sorted(spikes, number, n_samples, n_frames)
    return result


def _frames(x, rank, n_steps):
    """``[T, N, *]`` to lava's ``(W, H, C, steps)`` or ``(F, steps)``, sample after sample, silence at the end."""
    frames = np.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:])
    frames = frames.reshape(len(frames), -1) if rank == 1 else frames
    data = np.zeros((*frames.shape[:0:-1], n_steps), np.int32)
    data[..., : len(frames)] = frames.T
    return data


def _sorted(spikes, number, n_samples, n_frames):
    """Packed ``[T, N, *]`` and its shape: frame t reaches layer `number` (from 1) at step t + number."""
    valid = spikes[number : number + n_samples * n_frames]
    frames = valid.transpose(0, *range(valid.ndim - 1, 0, -1))  # [steps, C, H, W]
    frames = np.swapaxes(frames.reshape(n_samples, n_frames, *frames.shape[1:]), 0, 1)
    return np.packbits(frames), np.array(frames.shape)


def reason(net):
    """What an exception in one of lava's processes said; lava itself reports only that there was one."""
    runtime = getattr(net, "_runtime", None)
    actors = runtime._messaging_infrastructure.actors if runtime else []
    return "\n".join(str(actor.exception[1]) for actor in actors if actor.exception)


def answer(job):
    """Run the file that `job` names."""
    return simulate(str(job["path"]), job["x"], job["layers"].tolist(), int(job["message_bits"]))


def main(respond, job_path, result_path):
    """Write what `respond` makes of the arrays of a job, or the text of its error; returns the exit code."""
    result: dict = {}
    try:
        prepare_lava()
        with np.load(job_path) as job:
            result, code = respond(job), 0
    except Exception:
        result, code = {"error": traceback.format_exc()}, 1
    np.savez(result_path, **result)
    return code


if __name__ == "__main__":
    sys.exit(main(answer, *sys.argv[1:]))
