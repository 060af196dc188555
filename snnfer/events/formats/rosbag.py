"""ROS 1 bags of ``event_camera_msgs/EventPacket`` (raw EVT3 words of a Prophesee camera)."""

import os
import re
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from snnfer._optional import require
from snnfer.errors import EventFileError
from snnfer.events.formats.prophesee import RawSource
from snnfer.events.formats.source import ReadOptions, Source, resolve_size

MAGIC = b"#ROSBAG V2.0"
MESSAGE_TYPE = "event_camera_msgs/msg/EventPacket"


class RosbagSource(Source):
    """The first EventPacket topic of a bag; its words are collected in a working copy that is read as RAW."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        handle, self._copy = tempfile.mkstemp(suffix=".raw")
        try:
            with os.fdopen(handle, "wb") as target:
                size = None
                for width, height, encoding, words in _read_packets(path):
                    if size is None:
                        size = (width, height)
                        target.write(f"% format {encoding.upper()}\n% geometry {width}x{height}\n% end\n".encode())
                    target.write(words)
            if size is None:
                raise EventFileError(f"'{path}' holds no message of type {MESSAGE_TYPE}")
            super().__init__(path, "ROS 1 bag", *resolve_size(path, size, options))
            self._raw = RawSource(Path(self._copy), ReadOptions())
        except BaseException:
            os.unlink(self._copy)
            raise

    def packets(self) -> Iterator[np.ndarray]:
        """Events on the clock of the camera."""
        return self._raw.packets()

    def close(self) -> None:
        """Remove the working copy."""
        Path(self._copy).unlink(missing_ok=True)


def _read_packets(path: Path) -> Iterator[tuple[int, int, str, bytes]]:
    """Width, height, encoding and words of each message of the first fitting topic."""
    require("rosbags", extra="ros")
    from rosbags.rosbag1 import Reader, ReaderError

    try:
        with Reader(path) as reader:
            connections = [c for c in reader.connections if c.msgtype == MESSAGE_TYPE][:1]
            for _, _, message in reader.messages(connections) if connections else ():
                yield _parse_message(bytes(message))
    except (ReaderError, struct.error) as error:
        raise EventFileError(
            f"'{path}' cannot be read as a ROS 1 bag ({_reason(error)})",
            cause="a cut or damaged bag",
            fix="copy it again, or repair it with 'rosbag reindex'",
        ) from error


def _reason(error: Exception) -> str:
    """Text of an error; the arguments of an inner error, which rosbags prints as a tuple, become plain text."""
    return re.sub(r"""\(['"](.*?)['"],?\)""", r"\1", str(error)).rstrip(".")


def _parse_message(message: bytes) -> tuple[int, int, str, bytes]:
    """Fields in the order of the message definition, little-endian; strings and arrays carry their length first."""
    position = 16 + struct.unpack_from("<I", message, 12)[0]  # seq, stamp, frame_id
    height, width = struct.unpack_from("<II", message, position)
    position += 24  # height, width, seq, time_base
    (n_encoding,) = struct.unpack_from("<I", message, position)
    encoding = message[position + 4 : position + 4 + n_encoding].decode()
    return width, height, encoding, message[position + 4 + n_encoding + 1 + 4 :]
