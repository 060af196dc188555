"""HDF5: our own layout byte for byte, and those of DSEC, v2e and Prophesee."""

import time

import h5py
import hdf5plugin
import numpy as np
import pytest

import snnfer.events as ev
from snnfer.errors import EventFileError

T, X, Y, P = np.arange(100) * 11, np.arange(100) % 40, np.arange(100) % 30, np.arange(100) % 2
STREAM = ev.EventStream.from_arrays(T, X, Y, P, 40, 30, metadata={"b": 1, "a": [2, "x"]})


def test_layout_and_equal_bytes(tmp_path):
    ev.write_hdf5(tmp_path / "a.h5", STREAM)
    time.sleep(1.1)  # HDF5 time stamps count seconds
    ev.write_hdf5(tmp_path / "b.h5", STREAM)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5") as file:
        assert dict(file.attrs) == {
            "format": "snnfer-events",
            "version": 1,
            "width": 40,
            "height": 30,
            "metadata": '{"a": [2, "x"], "b": 1}',
        }
        types = {name: (data.dtype.str, data.chunks) for name, data in file["events"].items()}
        assert types == {"t": ("<i8", (65536,)), "x": ("<u2", (65536,)), "y": ("<u2", (65536,)), "p": ("|u1", (65536,))}
        assert np.array_equal(file["events/t"][:], T)


def test_dsec(tmp_path):
    path = tmp_path / "events.h5"
    with h5py.File(path, "w") as file:
        for name, values, dtype in (("t", T, "u4"), ("x", X, "u2"), ("y", Y, "u2"), ("p", P, "u1")):
            file.create_dataset(f"events/{name}", data=values.astype(dtype), **hdf5plugin.Blosc(cname="zstd"))
        file["ms_to_idx"] = np.array([0, 50], "u8")
        file["t_offset"] = np.int64(49_599_300_523)
    stream = ev.read(path)
    assert (stream.width, stream.height) == (640, 480)
    assert np.array_equal(stream.events["t"], T + 49_599_300_523)
    assert np.array_equal(stream.events["x"], X)


@pytest.mark.parametrize(("dtype", "off"), [("u4", 0), ("i4", -1)])
def test_v2e_table(tmp_path, dtype, off):
    path = tmp_path / "clip.h5"
    with h5py.File(path, "w") as file:
        file["events"] = np.stack([T, X, Y, np.where(P == 1, 1, off)], axis=1).astype(dtype)
    with pytest.raises(EventFileError, match="does not say its sensor size"):
        ev.read(path)
    assert np.array_equal(ev.read(path, width=40, height=30).events, STREAM.events)
    assert ev.summarise(path, width=40, height=30).format == "HDF5 (v2e)"


def test_prophesee_table(tmp_path):
    path = tmp_path / "cd.hdf5"
    table = np.zeros(100, [("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")])
    table["t"], table["x"], table["y"], table["p"] = T, X, Y, P
    with h5py.File(path, "w") as file:
        file["CD/events"] = table
        file.attrs["geometry"] = "40x30"
    assert np.array_equal(ev.read(path).events, STREAM.events)


def test_other_hdf5_and_newer_version(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["events"] = np.zeros(3)
    with pytest.raises(EventFileError, match="holds no events where snnfer looks"):
        ev.read(tmp_path / "other.h5")
    with pytest.raises(EventFileError, match="not of snnfer's layout"):
        ev.read_hdf5(tmp_path / "other.h5")
    ev.write_hdf5(tmp_path / "new.h5", STREAM)
    with h5py.File(tmp_path / "new.h5", "a") as file:
        file.attrs["version"] = 2
    with pytest.raises(EventFileError, match="has version 2 of the layout; expected at most 1; fix: update snnfer"):
        ev.read(tmp_path / "new.h5")
    with pytest.raises(EventFileError, match="no file"):
        ev.read_hdf5(tmp_path / "none.h5")


def test_metadata_must_be_json(tmp_path):
    stream = ev.EventStream(STREAM.events, 40, 30, metadata={"a": object()})
    with pytest.raises(EventFileError, match="metadata that JSON cannot hold"):
        ev.write_hdf5(tmp_path / "a.h5", stream)
    assert list(tmp_path.iterdir()) == []
