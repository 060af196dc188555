"""EVT2.1 against words packed one bit at a time from the format's description."""

import numpy as np
import pytest

import snnfer.events as ev

HEADERS = {
    "legacy": "% evt 2.1\n% format EVT21;height=720;width=1280;endianness=legacy\n% geometry 1280x720\n% end\n",
    "little": "% format EVT21;height=720;width=1280\n% endianness little\n% end\n",
    "unsaid": "% format EVT21;height=720;width=1280\n% end\n",
}


def pack_words(groups, *, swapped):
    """Words for (t, x, y, p, mask): a time word before each change of the upper time."""
    data, last_high = b"", None
    for t, x, y, p, mask in groups:
        high = (t >> 6) & ((1 << 28) - 1)
        words = [] if high == last_high else [(8 << 60) | (high << 32)]
        last_high = high
        words.append((p << 60) | ((t & 63) << 54) | (x << 43) | (y << 32) | mask)
        for word in words:
            raw = word.to_bytes(8, "little")
            data += raw[4:] + raw[:4] if swapped else raw
    return data


def groups_and_events(n, *, start_us=0, seed=0):
    rng = np.random.default_rng(seed)
    t = start_us + np.cumsum(rng.integers(0, 200, n))
    groups, events = [], []
    for time in t.tolist():
        x, y, p = int(rng.integers(0, 1248)), int(rng.integers(0, 720)), int(rng.integers(0, 2))
        mask = int(rng.integers(1, 1 << 32))
        groups.append((time, x, y, p, mask))
        events += [(time, x + k, y, p) for k in range(32) if mask >> k & 1]
    return groups, events


@pytest.mark.parametrize("swapped", [True, False])
@pytest.mark.parametrize("header", HEADERS)
def test_both_word_orders(tmp_path, header, swapped):
    if (header, swapped) in (("legacy", False), ("little", True)):
        pytest.skip("the header says the other order")
    groups, events = groups_and_events(3000)
    (tmp_path / "a.raw").write_bytes(HEADERS[header].encode() + pack_words(groups, swapped=swapped))
    stream = ev.read(tmp_path / "a.raw")
    assert (stream.width, stream.height) == (1280, 720)
    assert stream.events.tolist() == events
    assert ev.summarise(tmp_path / "a.raw").format == "RAW EVT2.1"


def test_time_turns_over_and_other_words_are_skipped(tmp_path):
    groups, events = groups_and_events(500, start_us=(1 << 34) - 20_000)
    data = pack_words(groups, swapped=False)
    trigger = ((10 << 60) | 5).to_bytes(8, "little")
    early = ((1 << 60) | (3 << 43) | 1).to_bytes(8, "little")  # an event before the first time word has no time
    (tmp_path / "a.raw").write_bytes(HEADERS["little"].encode() + early + data[:800] + trigger + data[800:])
    assert ev.read(tmp_path / "a.raw").events.tolist() == events


def test_many_blocks_and_a_partial_word(tmp_path, monkeypatch):
    monkeypatch.setattr("snnfer.events.formats.evt21.CHUNK_WORDS", 7)
    groups, events = groups_and_events(300, start_us=(1 << 34) - 10_000)
    (tmp_path / "a.raw").write_bytes(HEADERS["legacy"].encode() + pack_words(groups, swapped=True) + b"\x01\x02\x03")
    with pytest.warns(ev.EventFileWarning, match="the last word has 3 of 8 bytes"):
        assert ev.read(tmp_path / "a.raw", allow_truncated=True).events.tolist() == events
