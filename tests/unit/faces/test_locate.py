"""Face location in real recordings, and how detections are combined over time."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from snnfer import events, synth
from snnfer.errors import FaceError, SnnferError
from snnfer.events import EventStream, FrameStream
from snnfer.faces import CenterFace, Face, locate_face, overlap


class Scripted:
    """A detector that answers with given boxes, one list per image."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.seen = []

    def detect(self, image):
        self.seen.append(image)
        boxes = self.answers[len(self.seen) - 1] if len(self.seen) <= len(self.answers) else []
        points = np.array([(0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)])
        return [Face(b, s, (np.array(b[:2]) + points * b[2:]).astype(np.float32)) for b, s in boxes]


def recording(n_frames=0, n_events=0, size=(100, 200), name="gray", frame_size=None):
    height, width = size
    frames = {}
    if n_frames:
        shape = (n_frames, *(frame_size or size), *((3,) if name == "rgb" else ()))
        images = np.broadcast_to(np.arange(n_frames, dtype=np.uint8).reshape(-1, *[1] * (len(shape) - 1)), shape)
        frames = {name: FrameStream(np.arange(n_frames) * 1000, images)}
    t = np.linspace(0, 1_000_000, n_events).astype(np.int64)
    zeros = np.zeros(n_events, dtype=np.int64)
    return EventStream.from_arrays(t, zeros, zeros, zeros, width, height, frames=frames)


FACE, OTHER, FALSE = (50.0, 20.0, 30.0, 40.0), (120.0, 30.0, 20.0, 20.0), (5.0, 70.0, 90.0, 20.0)


def test_median_box_is_not_moved_by_a_false_find():
    answers = [[(FACE, 0.9)], [(FALSE, 0.8)], [((52.0, 21.0, 30.0, 40.0), 0.7)], [((51.0, 20.0, 30.0, 40.0), 0.9)], []]
    location = locate_face(recording(5), detector=Scripted(*answers), margin=0.0)
    assert location.box == (46, 20, 40, 40)  # square around (51, 20, 30, 40)
    assert location.share == 3 / 5
    assert location.n_images == 5
    assert location.source == "frames"
    assert location.score == 0.9
    np.testing.assert_allclose(location.landmarks[2], (51 + 15, 20 + 24))


@pytest.mark.parametrize(("policy", "expected"), [("largest", FACE), ("confident", OTHER), ("central", OTHER)])
def test_policy_chooses_among_several_faces(policy, expected):
    answers = [[(FACE, 0.6), (OTHER, 0.9)]] * 3
    location = locate_face(recording(3), detector=Scripted(*answers), policy=policy, margin=0.0)
    assert overlap(expected, [location.box])[0] > 0.5


def test_the_chosen_person_is_followed_where_another_looks_larger():
    near = (120.0, 10.0, 60.0, 60.0)
    answers = [[(FACE, 0.9), (OTHER, 0.9)]] * 4 + [[(FACE, 0.9), (near, 0.9)]]
    location = locate_face(recording(5), detector=Scripted(*answers), margin=0.0)
    assert location.box == (45, 20, 40, 40)
    assert location.share == 1


def test_a_box_at_the_edge_may_reach_outside():
    location = locate_face(recording(1), detector=Scripted([((0.0, 0.0, 20.0, 40.0), 0.9)]), margin=0.1)
    assert location.box == (-12, -2, 44, 44)


def test_frames_are_spread_over_the_recording():
    detector = Scripted(*[[(FACE, 0.9)]] * 5)
    locate_face(recording(101), detector=detector, max_images=5)
    assert [image[0, 0] for image in detector.seen] == [0, 25, 50, 75, 100]


def test_rgb_frames_are_used():
    detector = Scripted([(FACE, 0.9)])
    assert locate_face(recording(1, name="rgb"), detector=detector).source == "frames"
    assert detector.seen[0].shape == (100, 200, 3)


@pytest.mark.parametrize("options", [{"n_frames": 2}, {"n_frames": 2, "frame_size": (50, 50)}])
def test_events_help_where_frames_do_not(options):
    empty = [] if "frame_size" in options else [[], []]
    location = locate_face(recording(n_events=50, **options), detector=Scripted(*empty, *[[(FACE, 0.9)]] * 10))
    assert location.source == "events"
    assert location.n_images == 10  # windows of 100 ms in one second


def test_longer_windows_are_tried():
    detector = Scripted(*[[]] * 10, *[[(FACE, 0.9)]] * 5)
    assert locate_face(recording(n_events=50), detector=detector).n_images == 5  # windows of 200 ms


def test_a_face_in_too_few_images_is_an_error_that_says_what_was_tried():
    detector = Scripted([(FACE, 0.9)])
    with pytest.raises(FaceError) as error:
        locate_face(recording(20, 50), detector=detector, windows_us=(250_000,))
    assert "found in 1 of 20 gray frames, 0 of 4 event images of 250 ms" in str(error.value)
    assert "expected one face in at least 10% of the images" in str(error.value)


def test_a_recording_with_nothing_in_it():
    with pytest.raises(FaceError, match="no events and no frames"):
        locate_face(recording(), detector=Scripted())


@pytest.mark.parametrize("options", [{"policy": "youngest"}, {"margin": -1}, {"max_images": 0}, {"windows_us": (0,)}])
def test_arguments_out_of_range_are_refused(options):
    with pytest.raises(SnnferError, match=next(iter(options))):
        locate_face(recording(1), detector=Scripted(), **options)


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("onnxruntime", reason="needs the extra 'face'")
    return CenterFace(score_threshold=0.4, threads=1)


@pytest.fixture(scope="module")
def read(samples):
    pytest.importorskip("faery", reason="needs the extra 'data'")
    return lambda name: events.read(samples / "events" / name)


def test_finds_the_face_of_a_real_event_recording(detector, read):
    location = locate_face(read("dvxplorer_face.aedat4"), detector=detector, margin=0.1)
    assert location.source == "events"
    assert location.share >= 12 / 14
    # Drawn by eye around forehead, ear and chin in the event images.
    assert overlap((123, 70, 118, 118), [location.box])[0] > 0.8
    left_eye, right_eye, nose, *mouth = location.landmarks
    assert left_eye[0] < right_eye[0]
    assert left_eye[1] < nose[1] < min(corner[1] for corner in mouth)


@pytest.mark.parametrize("name", ["davis346_frames_imu.aedat4", "atis.es"])
def test_finds_no_face_in_a_road_or_a_toy_plane(detector, read, name):
    with pytest.raises(FaceError, match=r"no face in the recording \(found in 0 of .* event images"):
        locate_face(read(name), detector=detector)


def test_finds_the_face_in_the_frames_of_a_video(detector, samples):
    av = pytest.importorskip("av", reason="needs the extra 'data'")
    with av.open(str(samples / "face" / "single_face.mp4")) as container:
        images = np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])
    frames = {"gray": FrameStream(np.arange(len(images)) * 33_333, images)}
    location = locate_face(
        EventStream.from_arrays([], [], [], [], 640, 360, frames=frames), detector=detector, margin=0.0
    )
    assert location.share == 1
    assert overlap((178, 64, 232, 232), [location.box])[0] > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("source", ["gray", "rgb", "events"])
def test_agrees_with_the_boxes_of_rendered_faces(detector, synthetic, source):
    found = 0
    for stream, truth in synthetic:
        frames = {} if source == "events" else {source: stream.frames[source]}
        try:
            location = locate_face(replace(stream, frames=frames), detector=detector)
        except FaceError:
            continue
        assert overlap(truth, [location.box])[0] > 0.6
        found += 1
    assert found == len(synthetic)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """Rendered clips with their true boxes: a smile, an open mouth and a nod of two people."""
    pytest.importorskip("numba", reason="needs the extra 'synth'")
    config = synth.SynthConfig(n_subjects=2, aus=(12, 26, 54))
    folder = synth.generate(tmp_path_factory.mktemp("synthau"), config)
    with open(folder / "manifest.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    box = ("box_x", "box_y", "box_w", "box_h")
    return [(events.read(folder / row["path"]), tuple(int(row[key]) for key in box)) for row in rows]
