import dataclasses

import numpy as np
import pytest

from snnfer.synth._shapes import LUMINANCE, srgb_to_linear
from snnfer.synth.camera import FULL_WELL_ELECTRONS, READ_NOISE_ELECTRONS, FrameCamera
from snnfer.synth.config import SynthConfig
from snnfer.synth.recording import Clip, clip_box, detector_box, record_clip
from snnfer.synth.renderer import View
from snnfer.synth.scene import LUX_RANGE, build_session

GREY = np.full((60, 80, 3), 0.22, np.float32)  # the level that auto exposure aims at: gain 1


def camera(lux: float = 300.0, scene: np.ndarray = GREY) -> FrameCamera:
    return FrameCamera(lux, scene, np.random.default_rng(0))


def test_frames_show_the_light_that_fell():
    colour = np.broadcast_to(np.array([0.3, 0.2, 0.1], np.float32), (60, 80, 3))
    sensor = camera()
    sensor.expose(colour, 0.01)
    gray, rgb = sensor.read_out()
    assert gray.mean() / 255 == pytest.approx(colour[0, 0] @ LUMINANCE, rel=0.01)
    np.testing.assert_allclose(srgb_to_linear(rgb.mean((0, 1)) / 255), [0.3, 0.2, 0.1], rtol=0.02)


def test_gray_noise_is_photon_and_read_noise():
    sensor = camera()
    sensor.expose(GREY, 0.01)
    electrons = sensor.read_out()[0].astype(float) / 255 * FULL_WELL_ELECTRONS
    rounding = (FULL_WELL_ELECTRONS / 255) ** 2 / 12
    expected = 0.22 * FULL_WELL_ELECTRONS + READ_NOISE_ELECTRONS**2 + rounding
    assert electrons.var() == pytest.approx(expected, rel=0.1)


def test_motion_blurs_by_time_and_exposures_do_not_mix():
    sensor = camera()
    dark = np.full_like(GREY, 0.02)
    sensor.expose(GREY, 0.003)
    sensor.expose(dark, 0.001)
    sensor.expose(dark, -0.5)
    assert sensor.read_out()[0].mean() / 255 == pytest.approx(0.75 * 0.22 + 0.25 * 0.02, rel=0.02)
    sensor.expose(dark, 0.001)
    assert sensor.read_out()[0].mean() / 255 == pytest.approx(0.02, rel=0.1)


def test_exposure_grows_as_light_falls_and_stays_within_the_frame():
    assert camera(300).exposure_s == pytest.approx(0.012)
    assert camera(600).exposure_s == pytest.approx(0.006)
    assert camera(1).exposure_s == 0.030
    sensor = camera(1.0)
    sensor.expose(GREY, 0.03)
    noisy = sensor.read_out()[0]
    assert noisy.mean() / 255 == pytest.approx(0.22, rel=0.1)
    assert noisy.std() > 8


def test_box_of_the_detector_holds_the_face_and_jitters():
    points = np.random.default_rng(0).uniform([40, 30], [90, 100], (68, 2))
    boxes = np.array([detector_box(points, np.random.default_rng(seed)) for seed in range(200)])
    low, high = points.min(0), points.max(0)
    np.testing.assert_allclose(boxes[:, 0].mean(), low[0], atol=0.5)
    np.testing.assert_allclose((boxes[:, 0] + boxes[:, 2]).mean(), high[0], atol=0.5)
    assert 0.5 < boxes[:, 0].std() < 3
    x, y, width, height = clip_box(boxes[0])
    assert width == height >= 1.25 * boxes[0, 2:].max()
    assert x + width / 2 == pytest.approx(boxes[0, 0] + boxes[0, 2] / 2, abs=1)
    assert y + height / 2 == pytest.approx(boxes[0, 1] + boxes[0, 3] / 2, abs=1)


@pytest.fixture(scope="module")
def config() -> SynthConfig:
    return SynthConfig(width=173, height=130, difficulty="easy", seed=0)


@pytest.fixture(scope="module")
def smile(session, config):
    return record_clip(session, Clip(0, 12, 0), config)


def test_recording_is_complete(smile, config):
    stream, labels, script = smile.stream, smile.labels, smile.script
    n = int(script.duration_s * config.fps)
    assert (stream.width, stream.height) == (173, 130)
    assert stream.frames["gray"].images.shape == (n, 130, 173)
    assert stream.frames["rgb"].images.shape == (n, 130, 173, 3)
    assert stream.frames["depth"].images.dtype == np.uint16
    np.testing.assert_array_equal(labels["t_us"], np.round((np.arange(n) + 1) / 30 * 1e6))
    np.testing.assert_array_equal(stream.frames["rgb"].t_us, labels["t_us"])
    assert labels["landmarks"].shape == (n, 68, 2)
    assert labels["box"].shape == (n, 4)
    assert labels["gaze"].shape == (n, 2, 2)
    assert labels["intensity"].shape == (n, 21)
    assert stream.events["t"].min() > 0
    assert stream.events["t"].max() <= script.duration_s * 1e6
    assert (np.diff(stream.events["t"]) >= 0).all()


def test_intensity_labels_follow_the_script(smile):
    column = smile.labels["aus"].tolist().index(12)
    expected = [smile.script.levels(t * 1e-6).get(12, 0.0) for t in smile.labels["t_us"]]
    np.testing.assert_allclose(smile.labels["intensity"][:, column], expected, atol=1e-6)
    assert max(expected) == pytest.approx(smile.script.acted.amplitude, rel=0.05)


def test_events_of_a_smile_sit_on_the_lower_face_while_it_moves(smile):
    events, track = smile.stream.events, smile.script.acted
    landmarks = smile.labels["landmarks"].mean(0)
    low, high = landmarks[48:68].min(0) - 8, landmarks[48:68].max(0) + 8
    x, y = events["x"], events["y"]
    mouth = events[(x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1])]
    seconds = mouth["t"] * 1e-6
    moving = ((seconds > track.onset_s) & (seconds < track.apex_start_s)).sum() / (track.apex_start_s - track.onset_s)
    resting = (seconds < track.onset_s).sum() / track.onset_s
    assert moving > 3 * resting


def test_same_clip_same_events_and_other_repetition_others(session, config, smile):
    again = record_clip(session, Clip(0, 12, 0), config)
    assert (again.stream.events == smile.stream.events).all()
    np.testing.assert_array_equal(again.stream.frames["rgb"].images, smile.stream.frames["rgb"].images)
    other = record_clip(session, Clip(0, 12, 1), config)
    assert len(other.stream.events) != len(smile.stream.events)


def test_noise_share_grows_as_light_falls(session, config):
    shares = []
    for lux in (1000.0, 10.0, 1.0):
        recording = record_clip(dataclasses.replace(session, lux=lux), Clip(0, 45, 0), config)
        shares.append(recording.noise_count / len(recording.stream))
    assert shares[0] < 0.15 < shares[1] < shares[2]


def test_sessions_differ_in_light():
    view = View(64, 48, 140.0)
    lux = [build_session(subject, view, seed=0, lux=None).lux for subject in range(6)]
    assert len(set(lux)) == 6
    assert LUX_RANGE[0] <= min(lux) <= max(lux) <= LUX_RANGE[1]
    assert build_session(0, view, seed=0, lux=2.0).lux == 2.0
