"""The events of single clips, cut to their face and kept in a cache, for training that changes events."""

import numpy as np

from snnfer.datasets.cache import ArrayCache
from snnfer.datasets.manifest import Box, Clip, ManifestDataset, content_key
from snnfer.events import EVENT_DTYPE, EventStream


def cut_events(data: ManifestDataset, clip: Clip, box: Box | None, cache: ArrayCache) -> EventStream:
    """Events of a clip inside its box, in coordinates of the box; read from its recording once, then from the cache.

    Args:
        data: The data set of `clip`.
        clip: Which clip; the events are those of its time.
        box: Square face box in sensor pixels; it may reach outside the sensor. None keeps the whole sensor.
        cache: Where the events are kept.

    Returns:
        A stream without frames, whose width and height are those of the box. Times are those of the recording.
    """
    content = content_key(clip)
    if box is None:
        width, height = cache.get({"sensor of a clip": content}, lambda: _sensor(data, clip)).tolist()
        box = (0, 0, width, height)
    events = cache.get({"events of a clip": content, "box": list(box)}, lambda: data.load(clip).crop(*box).events)
    return EventStream(np.array(events, dtype=EVENT_DTYPE), box[2], box[3])


def _sensor(data: ManifestDataset, clip: Clip) -> np.ndarray:
    stream = data.load(clip)
    return np.array([stream.width, stream.height])
