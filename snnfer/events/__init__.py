"""Events: the stream container, reading and writing of sensor files."""

from snnfer.events.hdf5 import read_hdf5, write_hdf5
from snnfer.events.stream import EVENT_DTYPE, EventStream, FrameStream

__all__ = ["EVENT_DTYPE", "EventStream", "FrameStream", "read_hdf5", "write_hdf5"]
