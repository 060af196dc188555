"""Where the face is in a recording: one square box for all of its time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from snnfer._check import check_choice, check_positive
from snnfer.errors import FaceError, SnnferError
from snnfer.events import EventStream
from snnfer.faces.boxes import overlap, square_box
from snnfer.faces.centerface import CenterFace, Face, FaceDetector
from snnfer.faces.event_image import event_image

Policy = Literal["largest", "confident", "central"]
SAME_FACE = 0.3  # boxes of one face in two images overlap by at least this much
SCORE = 0.4  # a single image needs less certainty than in photographs, because several must agree


@dataclass(frozen=True, eq=False)
class FaceLocation:
    """The face of a recording.

    Attributes:
        box: ``(x, y, width, height)``, a square of whole pixels of the sensor; it may reach outside the sensor.
        source: What the face was seen in.
        share: Share of the images that were looked at in which this face was found, in (0, 1].
        n_images: How many images were looked at.
        score: Median confidence, in [0, 1].
        landmarks: [5, 2] float32, median x and y of eyes, nose and corners of the mouth (see `Face`).
    """

    box: tuple[int, int, int, int]
    source: Literal["frames", "events"]
    share: float
    n_images: int
    score: float
    landmarks: npt.NDArray[np.float32]


def locate_face(
    stream: EventStream,
    *,
    detector: FaceDetector | None = None,
    policy: Policy = "largest",
    margin: float = 0.25,
    windows_us: Sequence[int] = (100_000, 200_000, 400_000),
    max_images: int = 24,
    min_share: float = 0.1,
) -> FaceLocation:
    """Find the face in a recording, in its frames if it has any, else in images of its events.

    The face that `policy` chooses most often is followed through all images; its box is the median of what the
    detector saw, so that single misses and false finds do not move it. Frames of another size than the sensor are not
    used, because their pixels are not the sensor's. If the frames show no face (darkness, motion blur), the events are
    tried.

    Args:
        stream: The recording.
        detector: Finds faces in an image; by default a new `CenterFace` with a score threshold of 0.4 (pass one if
            there are many recordings).
        policy: Whose face, if there are several: the largest, the one with the highest score, the one nearest to the
            middle of the image.
        margin: Share of the face's longer side that is added to the square around it. With the default the square is
            as large as the boxes of SynthAU, on which models may have been trained.
        windows_us: Time span of one event image in microseconds; the next span is tried if one shows no face. The
            shortest is for a head that moves, longer ones gather the few events of a still head.
        max_images: Images to look at, spread evenly over the recording.
        min_share: Share of the images that must show the face.

    Raises:
        FaceError: no face, or in too few images.
        SnnferError: an argument is out of its range.
    """
    check_choice(policy, get_args(Policy), name="policy")
    for window_us in windows_us:
        check_positive(window_us, name="windows_us", unit="us")
    check_positive(max_images, name="max_images")
    if margin < 0:
        raise SnnferError(f"margin = {margin}", expected="a value of at least 0")
    detector = detector or CenterFace(score_threshold=SCORE)
    tried: list[str] = []
    for source, name, images in _sources(stream, windows_us=windows_us, max_images=max_images):
        detections = [detector.detect(image) for image in images]
        faces = _follow(detections, policy, stream.width, stream.height)
        tried.append(f"{len(faces)} of {len(detections)} {name}")
        if faces and len(faces) >= min_share * len(detections):
            return _combine(faces, len(detections), source, margin)
    raise _no_face(stream, tried, min_share)


def _sources(
    stream: EventStream, *, windows_us: Sequence[int], max_images: int
) -> Iterator[tuple[Literal["frames", "events"], str, Iterator[npt.NDArray[np.uint8]]]]:
    """What to look at, in order: source, its name in messages, its images."""
    for name in ("gray", "rgb"):
        frames = stream.frames.get(name)
        if frames is not None and len(frames.t_us) and frames.images.shape[1:3] == (stream.height, stream.width):
            chosen = _spread(len(frames.t_us), max_images)
            yield "frames", f"{name} frames", (frames.images[i] for i in chosen)
            break
    for window_us in windows_us if len(stream.events) else ():
        starts = stream.t_start_us + window_us * _spread(max(1, stream.duration_us // window_us), max_images)
        spans = ((t, t + window_us) for t in starts.tolist())
        images = (event_image(stream, t_start_us=start, t_end_us=end) for start, end in spans)
        yield "events", f"event images of {window_us / 1000:g} ms", images


def _spread(n: int, limit: int) -> npt.NDArray[np.int64]:
    """At most `limit` of the indices 0 to n - 1, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, limit)).round().astype(np.int64))


def _follow(detections: Sequence[Sequence[Face]], policy: Policy, width: int, height: int) -> list[Face]:
    """The same person's face in each image that shows it."""
    chosen = [_choose(faces, policy, width, height) for faces in detections if faces]
    if not chosen:
        return []
    boxes = np.array([face.box for face in chosen])
    agreement = [(overlap(box, boxes) >= SAME_FACE).sum() for box in boxes]
    reference = boxes[int(np.argmax(agreement))]
    same = []
    for faces in detections:
        overlaps = overlap(reference, [face.box for face in faces])
        if len(faces) and overlaps.max() >= SAME_FACE:
            same.append(faces[int(overlaps.argmax())])
    return same


def _choose(faces: Sequence[Face], policy: Policy, width: int, height: int) -> Face:
    if policy == "largest":
        return max(faces, key=lambda face: face.box[2] * face.box[3])
    if policy == "confident":
        return max(faces, key=lambda face: face.score)
    middle = np.array([width, height]) / 2
    return min(faces, key=lambda face: np.hypot(*(np.add(face.box[:2], np.divide(face.box[2:], 2)) - middle)))


def _combine(faces: Sequence[Face], n_images: int, source: Literal["frames", "events"], margin: float) -> FaceLocation:
    return FaceLocation(
        box=square_box(np.median([face.box for face in faces], axis=0), margin=margin),
        source=source,
        share=len(faces) / n_images,
        n_images=n_images,
        score=float(np.median([face.score for face in faces])),
        landmarks=np.median([face.landmarks for face in faces], axis=0),
    )


def _no_face(stream: EventStream, tried: Sequence[str], min_share: float) -> FaceError:
    if not tried:
        return FaceError(
            "the recording has no events and no frames of the sensor's size "
            f"({stream.width} x {stream.height}) to look for a face in",
            expected="a recording of a face",
        )
    return FaceError(
        f"no face in the recording (found in {', '.join(tried)})",
        expected=f"one face in at least {min_share:.0%} of the images",
        cause="nobody in view, a face turned away or below 20 pixels, or, in events, a face that does not move",
        fix="give the box of the face yourself, or pass CenterFace(score_threshold=...) with a lower threshold",
    )
