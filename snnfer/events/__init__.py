"""Events: the stream container, reading and writing of sensor files, filters."""

from snnfer.events import filters
from snnfer.events.formats.source import EventFileWarning
from snnfer.events.hdf5 import read_hdf5, write_hdf5
from snnfer.events.reader import EventReader, open, read, read_start
from snnfer.events.stream import EVENT_DTYPE, EventStream, FrameStream
from snnfer.events.summary import EventSummary, summarise
from snnfer.events.windows import split_windows
from snnfer.events.writer import convert, write

__all__ = [
    "EVENT_DTYPE",
    "EventFileWarning",
    "EventReader",
    "EventStream",
    "EventSummary",
    "FrameStream",
    "convert",
    "filters",
    "open",
    "read",
    "read_hdf5",
    "read_start",
    "split_windows",
    "summarise",
    "write",
    "write_hdf5",
]
