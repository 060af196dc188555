"""Text: the unit is stated, never guessed; columns by name; damage named by line."""

import numpy as np
import pytest

import snnfer.events as ev
from snnfer.errors import EventFileError


def read_text(tmp_path, content, name="a.txt", **options):
    path = tmp_path / name
    path.write_text(content)
    return ev.read(path, **{"width": 40, "height": 30, **options}).events.tolist()


@pytest.mark.parametrize(
    ("unit", "first", "second"),
    [("s", "0.003811", "1589163147.368868"), ("ms", "3.811", "1589163147368.868"), ("us", "3811", "1589163147368868")],
)
def test_units_are_exact(tmp_path, unit, first, second):
    events = read_text(tmp_path, f"{first} 1 2 0\n{second} 3 4 1\n", time_unit=unit)
    assert events == [(3811, 1, 2, 0), (1_589_163_147_368_868, 3, 4, 1)]


def test_the_unit_is_required(tmp_path):
    with pytest.raises(
        EventFileError, match="does not say the unit of its times; expected s, ms or us; fix: .*--time-unit s"
    ):
        read_text(tmp_path, "0.1 1 2 0\n")


@pytest.mark.parametrize(
    "content",
    [
        "t,x,y,p\n5,1,2,0\n9,3,4,1\n",
        "x,y,p,t\n1,2,0,5\n3,4,1,9\n",
        "# a comment\n5 1 2 0\n\n9\t3 4 1\n",
        "timestamp x y polarity\n5 1 2 -1\n9 3 4 1\n",
        "5, 1, 2, 0\n9, 3, 4, 1",
    ],
)
def test_columns_separators_and_comments(tmp_path, content):
    assert read_text(tmp_path, content, time_unit="us") == [(5, 1, 2, 0), (9, 3, 4, 1)]


def test_first_line_with_the_sensor_size(tmp_path):
    path = tmp_path / "events.txt"
    path.write_text("240 180\n0.5 1 2 0\n")
    stream = ev.read(path, time_unit="s")
    assert (stream.width, stream.height, stream.events.tolist()) == (240, 180, [(500_000, 1, 2, 0)])


@pytest.mark.parametrize(
    ("content", "unit", "message"),
    [
        ("5 1 2 0\n9 3 4\n", "us", "line 2 of '.*a.txt' is '9 3 4'; expected four numbers: t x y p"),
        ("5 1 2 0\n# note\n\n9 3 4 x\n", "us", "line 4 of '.*a.txt' is '9 3 4 x'; expected four numbers"),
        ("0.5 1 2 0\n", "us", "whole microseconds"),
        (
            "5 1 2 0\n9 99 4 1\n",
            "us",
            "1 of 2 events lie outside the sensor of 40x30, the first is event 1 at x=99, y=4",
        ),
        ("5 1 2 0\n9 -1 4 1\n", "us", "line 2 of '.*a.txt' says x=-1, y=4; expected coordinates from 0 to 65535"),
        ("5 1 2 7\n", "us", "polarities between 7 and 7"),
    ],
)
def test_damage_is_named(tmp_path, content, unit, message):
    with pytest.raises(EventFileError, match=message):
        read_text(tmp_path, content, time_unit=unit)


def test_own_csv_needs_nothing(tmp_path):
    stream = ev.EventStream.from_arrays([-5, 9], [1, 3], [2, 4], [0, 1], 40, 30)
    ev.write(tmp_path / "a.csv", stream)
    assert np.array_equal(ev.read(tmp_path / "a.csv").events, stream.events)
    table = np.loadtxt(tmp_path / "a.csv", delimiter=",", skiprows=2)
    assert table.tolist() == [[-5, 1, 2, 0], [9, 3, 4, 1]]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("1 -1 4 1", "line 70,003 of .* says x=-1, y=4; expected coordinates from 0 to 65535"),
        ("1 3", "line 70,003 of .* is '1 3'; expected"),
        ("1 " + "9" * 500 + " 4 1", "line 70,003 of .* is '1 9{58}...'; expected"),
    ],
)
def test_a_bad_line_behind_the_first_block_has_its_number_in_the_file(tmp_path, bad, message):
    lines = ["t x y p", *["0 1 2 0"] * 70_000, "# a note", bad, *["2 1 2 0"] * 10]
    with pytest.raises(EventFileError, match=message) as error:
        read_text(tmp_path, "\n".join(lines), time_unit="us")
    assert "numpy" not in str(error.value)
    assert "string" not in str(error.value)
