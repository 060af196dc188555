"""Streaming of recordings: the windows, crops and scores of prediction, one after the other."""

import dataclasses
import weakref
from typing import Any

import numpy as np
import pytest
import torch

from snnfer import create_model, events
from snnfer.datasets import ClipInput
from snnfer.errors import ConfigError, DatasetError, SnnferError
from snnfer.events import EventStream
from snnfer.representations import list_representations
from snnfer.training import StreamSummary, TrainedModel, WindowScores, stream_recording, streaming
from snnfer.training._event_frames import WindowFrames, make_frames
from snnfer.training.prediction import predict_recording
from snnfer.training.window_prediction import predict_windows

WHOLE_US = 10**9


def recording_of(n=6000, *, duration_us=400_000, width=40, height=30, seed=0, start_us=2**33):
    rng = np.random.default_rng(seed)
    t = start_us + np.sort(rng.integers(0, duration_us, n))
    x, y = rng.integers(0, width, n), rng.integers(0, height, n)
    return EventStream.from_arrays(t, x, y, rng.integers(0, 2, n), width, height)


def make_trained(model: Any = None, **given) -> TrainedModel:
    torch.manual_seed(0)
    given = {"window_us": 30_000, "n_steps": 8, "size": (16, 16)} | given
    read = ClipInput(**given)
    if model is None:
        model = create_model("au_snn", n_classes=3, in_channels=read.n_channels, size=(16, 16), channels=16, hidden=16)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(4)
    channels = read.n_channels if read.modality == "events" else 3
    return TrainedModel(model.eval(), read, ("AU2", "AU12", "AU45"), (0.0,) * channels, (1.0,) * channels, {})


def run(trained, recording, **options):
    return list(stream_recording(trained, recording, box=options.pop("box", None), **options))


@pytest.mark.parametrize("box", [None, (5, 3, 20, 20), (-6, -4, 50, 50)])
@pytest.mark.parametrize("representation", ["count_frames", "binary_frames", "tie"])
def test_the_mean_over_windows_is_the_prediction_of_the_whole(representation, box):
    recording = recording_of()
    trained = make_trained(representation=representation)
    windows = run(trained, recording, box=box)
    expected = predict_recording(trained, recording, box=box, span_us=WHOLE_US, hop_us=WHOLE_US)
    assert [w.t_start_us for w in windows] == [30_000 * k for k in range(13)]
    assert windows[-1].t_end_us == expected.t_end_us[0]
    scores = np.stack([w.scores for w in windows])
    assert scores.std() > 0.01
    np.testing.assert_allclose(scores.mean(0), expected.scores[0], atol=1e-6)
    summary = StreamSummary(trained)
    for window in windows:
        summary.add(window)
    np.testing.assert_allclose(summary.scores, expected.scores[0], atol=1e-6)
    assert summary.n_windows == 13
    assert sum(w.n_events for w in windows) == np.sum(recording.events["t"] < recording.t_start_us + 13 * 30_000)


def test_of_a_network_that_integrates_the_last_window_is_the_prediction():
    recording = recording_of()
    model = create_model("spiking_fer", n_classes=3, size=(16, 16), width=8, blocks=(1, 1))
    trained = make_trained(model, representation="binary_frames")
    summary = StreamSummary(trained)
    for window in run(trained, recording):
        summary.add(window)
    expected = predict_recording(trained, recording, box=None, span_us=WHOLE_US, hop_us=WHOLE_US)
    np.testing.assert_allclose(summary.scores, expected.scores[0], atol=1e-5)


def test_a_file_in_chunks_gives_what_the_stream_gives(tmp_path):
    pytest.importorskip("h5py")
    recording, trained = recording_of(), make_trained()
    events.write(tmp_path / "clip.h5", recording)
    with events.open(tmp_path / "clip.h5") as reader:
        from_file = run(trained, reader)
    for a, b in zip(from_file, run(trained, recording), strict=True):
        np.testing.assert_array_equal(a.scores, b.scores)


@pytest.mark.parametrize("box", [None, (5, 3, 20, 20), (-6, -4, 50, 50), (30, 20, 33, 33), (60, 60, 5, 5)])
@pytest.mark.parametrize("normal", [True, False])
def test_counted_frames_are_those_of_the_clip_input(box, normal):
    recording = recording_of(20_000, seed=3)
    trained = make_trained(size=(3, 5))  # counts above 255
    if not normal:
        trained = dataclasses.replace(trained, mean=(0.5, 1.0), std=(2.0, 3.0))
    sensor = {"width": recording.width, "height": recording.height, "box": box}
    fast, plain = make_frames(trained, **sensor), WindowFrames(trained, **sensor)
    assert type(fast) is not WindowFrames
    for k in range(0, 20_000, 4000):
        part = recording.events[k : k + 4000]
        times = {"t_start_us": int(part["t"][0]), "t_origin_us": recording.t_start_us}
        wide = dataclasses.replace(plain._reader, window_us=200_000)
        object.__setattr__(plain, "_reader", wide)
        assert torch.equal(fast(part, **times), plain(part, **times))
        assert fast.holds_events(part) == bool(torch.any(plain(part, **times) != plain(part[:0], **times)))


@pytest.mark.parametrize("representation", list_representations())
def test_every_representation_is_drawn_as_for_a_clip(representation):
    recording = recording_of(2000)
    trained = make_trained(torch.nn.Identity(), representation=representation)
    frames = make_frames(trained, width=recording.width, height=recording.height, box=(5, 3, 20, 20))
    clip = dataclasses.replace(trained.input, n_steps=13)
    origin = recording.t_start_us
    whole = clip(recording, t_start_us=origin, n_valid=13, box=(5, 3, 20, 20), t_origin_us=origin)
    for k in (0, 5, 12):
        start = origin + 30_000 * k
        part = recording.slice_time(start, start + 30_000).events
        found = frames(part, t_start_us=start, t_origin_us=origin)
        torch.testing.assert_close(found, whole[k].float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["evtransfer", "evtransfer_lstm"])
def test_classifiers_of_windows_give_what_predict_windows_gives(name):
    recording = recording_of()
    t = recording.events["t"] - recording.t_start_us
    recording = EventStream(recording.events[(t < 90_000) | (t > 155_000)], 40, 30)  # two windows without events
    model = create_model(name, n_classes=3, size=(32, 32), width=4, hidden=8)
    trained = make_trained(model, size=(32, 32), representation="tie")
    found = run(trained, recording)
    expected = list(predict_windows(recording, classifier=trained, box=None))
    assert [w.scores is None for w in found] == [e.scores is None for e in expected]
    assert sum(w.scores is None for w in found) == 2
    for window, prediction in zip(found, expected, strict=True):
        if window.scores is not None:
            np.testing.assert_allclose(window.scores, prediction.scores, atol=1e-6)


def test_networks_of_single_windows_run_on_each():
    recording = recording_of()
    trained = make_trained(_OneStep(), n_steps=1)
    found = np.stack([w.scores for w in run(trained, recording)])
    expected = predict_recording(trained, recording, box=None, span_us=30_000, hop_us=30_000)
    np.testing.assert_allclose(found, expected.scores, atol=1e-6)


class _OneStep(torch.nn.Module):
    """A network without a state, of one window."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(2)[0, :, :3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"slicing": "uniform"}, "divides whole clips"),
        ({"modality": "rgb"}, "reads frames"),
        ({}, "reads whole clips of 8 steps"),
    ],
)
def test_networks_of_whole_clips_are_refused(given, message):
    trained = make_trained(create_model("au_cnn3d", n_classes=3, size=(16, 16)), **given)
    with pytest.raises(ConfigError, match=message):
        stream_recording(trained, recording_of(), box=None)


def test_networks_that_reconstruct_are_refused():
    trained = make_trained(create_model("pix2pix", size=[32, 32], width=4), size=(32, 32))
    with pytest.raises(ConfigError, match="reconstructs images"):
        stream_recording(trained, recording_of(), box=None)


def test_an_empty_box_is_refused():
    with pytest.raises(SnnferError, match="box"):
        stream_recording(make_trained(), recording_of(), box=(0, 0, 0, 5))


@pytest.mark.parametrize("n", [0, 20])
def test_a_recording_shorter_than_a_window_is_refused(n):
    with pytest.raises(DatasetError, match="too short"):
        run(make_trained(), recording_of(n, duration_us=20_000))


class Clock:
    """Time that passes only while somebody sleeps or works."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def test_in_real_time_windows_wait_for_their_end_and_late_ones_are_marked(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(streaming, "time", clock)
    work_ms = iter([0, *[2] * 4, 95, *[2] * 20])  # the first is the warm-up; the fifth window takes three others' time
    score = streaming._Scorer.__call__

    def slow(self, frame, *, has_events):
        clock.now += next(work_ms) / 1e3
        return score(self, frame, has_events=has_events)

    monkeypatch.setattr(streaming._Scorer, "__call__", slow)
    windows = run(make_trained(), recording_of(), realtime=True)
    latencies = [2, 2, 2, 2, 95, *[2] * 8]
    ends, expected = 0.0, []
    for k, latency in enumerate(latencies):  # by hand: start when the window has ended and the one before is done
        ends = max(30.0 * (k + 1), ends) + latency
        expected.append(ends - 30.0 * (k + 1))
    assert [w.latency_s * 1e3 for w in windows] == pytest.approx(latencies)
    assert [w.delay_s * 1e3 for w in windows] == pytest.approx(expected)
    assert [k for k, w in enumerate(windows) if w.is_late] == [4, 5, 6]
    summary = StreamSummary(make_trained())
    for window in windows:
        summary.add(window)
    assert summary.n_late == 3
    assert summary.latency.largest_s == pytest.approx(0.095)


def test_without_its_clock_the_delay_is_the_latency():
    for window in run(make_trained(), recording_of()):
        assert window.delay_s == window.latency_s > 0


def test_memory_does_not_grow_with_the_recording():
    """Of 40 chunks no more than a few are alive at any time."""
    alive: list[Any] = []

    class Endless(events.EventReader):
        def __init__(self) -> None:
            self.width, self.height = 40, 30

        def chunks(self, n_events: int = 0):
            for k in range(40):
                chunk = recording_of(500, duration_us=100_000, start_us=k * 100_000, seed=k).events
                alive.append(weakref.ref(chunk))
                yield chunk

    n_alive = [sum(ref() is not None for ref in alive) for _ in stream_recording(make_trained(), Endless(), box=None)]
    assert len(n_alive) == 133
    assert max(n_alive) <= 3


def test_a_summary_without_scores():
    summary = StreamSummary(make_trained())
    assert summary.scores is None
    summary.add(WindowScores(0, 30_000, 0, None, 0.001, 0.001))
    assert summary.scores is None
    assert (summary.n_windows, summary.n_late) == (1, 0)
