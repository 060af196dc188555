"""Sheets and films of reconstructed faces, read back with PIL and PyAV."""

import os
import tracemalloc

import numpy as np
import pytest
import torch

from snnfer.errors import ShapeError, SnnferError
from snnfer.plot.reconstruction import save_reconstruction_film, save_reconstruction_sheet, to_pixels

av = pytest.importorskip("av")
Image = pytest.importorskip("PIL.Image")

RED, GREEN = np.array([220, 30, 30], np.uint8), np.array([20, 200, 60], np.uint8)
HEADING = 20  # height of the line of headings


def plain(colour, size=(40, 60)):
    return np.broadcast_to(np.asarray(colour, np.uint8), (*size, 3))


def decode(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return frames, float(stream.average_rate), float(container.duration / av.time_base)


def steps(n, *, size=(40, 60)):
    """The reconstruction brightens from step to step; the score of the first class is the step's share."""
    for i in range(n):
        scores = [("happiness", i / n), ("surprise", 0.1)]
        yield 40_000 * i, plain(RED, size), np.full(size, i / n, np.float32), scores


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_film_shows_events_left_and_the_reconstruction_right(tmp_path, suffix):
    path = tmp_path / f"face{suffix}"
    assert save_reconstruction_film(path, steps(10), fps=25) == 10
    frames, rate, duration = decode(path)
    assert len(frames) == 10
    assert rate == 25
    assert duration == pytest.approx(0.4, abs=0.02)
    assert frames[0].shape == (20 + 6 * 40 + 20 * 4 + 6, 2 * 6 * 60, 3)  # enlarged 6 times, 1 line and 3 bars below
    for i, frame in enumerate(frames):
        middle = frame[HEADING + 60 : HEADING + 100].astype(float)
        assert np.abs(middle[:, 60:300].mean((0, 1)) - RED).max() < 12, i
        assert np.abs(middle[:, 420:660].mean((0, 1)) - 255 * i / 10).max() < 12, i
    assert os.listdir(tmp_path) == [path.name]


def test_bars_are_as_long_as_the_scores(tmp_path):
    save_reconstruction_film(tmp_path / "face.gif", steps(10), fps=25)
    frames, _, _ = decode(tmp_path / "face.gif")
    left, right = 720 * 2 // 5, 720 - 50
    for i, frame in enumerate(frames):
        bars = frame[HEADING + 240 + 3 + 20 + 8, left : right + 1].astype(int)
        share = (bars[:, 0] < 100).mean()  # blue, not grey
        assert share == pytest.approx(i / 10, abs=0.01)
    texts = [frame[HEADING + 240 :, :200] for frame in frames]
    assert all((texts[0] != text).any() for text in texts[1:])  # the time goes on


def test_without_events_the_half_is_black_and_says_so(tmp_path):
    given = [(0, plain(255), None, []), (40_000, plain(255), plain(GREEN), [("happiness", 0.5)])]
    save_reconstruction_film(tmp_path / "face.gif", given, fps=25)
    (empty, full), _, _ = decode(tmp_path / "face.gif")
    half = empty[HEADING : HEADING + 240, 360:]
    assert (np.median(half, (0, 1)) == 0).all()
    assert 0.001 < (half > 128).mean() < 0.05  # the words
    assert np.abs(full[HEADING : HEADING + 240, 360:].astype(int) - GREEN).max() <= 2  # the palette rounds


def test_a_film_without_classes_has_only_the_time_below(tmp_path):
    given = [(0, plain(RED), plain(GREEN), [])]
    save_reconstruction_film(tmp_path / "face.gif", given, fps=10, n_scores=0)
    (frame,), _, _ = decode(tmp_path / "face.gif")
    assert frame.shape == (20 + 240 + 20 + 6, 720, 3)


def test_odd_sizes_are_filmed(tmp_path):
    assert save_reconstruction_film(tmp_path / "face.mp4", steps(2, size=(261, 347)), fps=30) == 2
    frames, _, _ = decode(tmp_path / "face.mp4")
    assert frames[0].shape[:2] == (20 + 261 + 86 + 1, 694)


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_memory_does_not_grow_with_the_film(tmp_path, suffix):
    def peak(n):
        tracemalloc.start()
        save_reconstruction_film(tmp_path / f"face{suffix}", steps(n), fps=25)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return highest

    peak(2)
    assert peak(40) < 1.5 * peak(5)  # 40 pictures held would be 30 MB against 4 MB


def test_wrong_films_are_one_sentence_and_leave_nothing(tmp_path):
    wrong_size = [(0, plain(RED), plain(GREEN, (20, 20)), [])]
    with pytest.raises(ShapeError, match=r"events of \[40, 60\] and a reconstruction of \[20, 20\] pixels"):
        save_reconstruction_film(tmp_path / "face.mp4", wrong_size, fps=25)
    with pytest.raises(SnnferError, match="a film without pictures"):
        save_reconstruction_film(tmp_path / "face.mp4", [], fps=25)
    with pytest.raises(SnnferError, match=r"'face.avi' names no film; expected a suffix of .mp4 .gif"):
        save_reconstruction_film("face.avi", steps(1), fps=25)
    with pytest.raises(SnnferError, match=r"fps = 30 for a .gif"):
        save_reconstruction_film(tmp_path / "face.gif", steps(1), fps=30)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("n_channels", [1, 3])
def test_sheet_has_a_tile_for_each_image(tmp_path, n_channels):
    """Tiles of known brightness are found in rows and columns, under headings and beside labels."""
    values = np.array([[0.2, 0.4, 0.6], [0.8, 1.0, 0.0]])
    rows = [(f"anna\nclip {i}", [torch.full((20, 20, n_channels), v) for v in row]) for i, row in enumerate(values)]
    save_reconstruction_sheet(tmp_path / "sheet.png", rows)
    with Image.open(tmp_path / "sheet.png") as picture:
        sheet = np.asarray(picture)
    assert sheet.shape[0] == 20 + 6 + 2 * (160 + 6)
    label_width = sheet.shape[1] - 3 * 166
    assert label_width > 20
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            top, left = 26 + i * 166, label_width + j * 166
            assert (sheet[top : top + 160, left : left + 160] == round(255 * value)).all()
    assert (sheet[:20, label_width:] < 128).any()  # headings
    assert (sheet[26:66, :label_width] < 128).any()  # a label
    assert list(tmp_path.iterdir()) == [tmp_path / "sheet.png"]


def test_sheet_takes_several_reconstructions(tmp_path):
    headings = ["events", "pix2pix", "cvae", "ground truth"]
    save_reconstruction_sheet(tmp_path / "sheet.png", [("a", [np.zeros((20, 20))] * 4)], headings=headings)
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.width > 4 * 160


def test_wrong_sheets_are_one_sentence(tmp_path):
    path, image = tmp_path / "sheet.png", np.zeros((20, 20))
    with pytest.raises(SnnferError, match="a suffix of .png"):
        save_reconstruction_sheet(tmp_path / "sheet.jpg", [("a", [image] * 3)])
    with pytest.raises(SnnferError, match="at least one row"):
        save_reconstruction_sheet(path, [])
    with pytest.raises(SnnferError, match="2 images in row 'a'; expected one for each of"):
        save_reconstruction_sheet(path, [("a", [image] * 2)])
    with pytest.raises(ShapeError, match=r"images of sizes \[\(20, 10\), \(20, 20\)\]"):
        save_reconstruction_sheet(path, [("a", [image, image, image[:, :10]])])
    assert not list(tmp_path.iterdir())


def test_images_become_pixels():
    assert (to_pixels(torch.tensor([[0.0, 0.5, 1.0]])) == np.array([0, 128, 255])[None, :, None]).all()
    assert (to_pixels(np.full((2, 2, 1), 7, np.uint8)) == 7).all()
    assert to_pixels(np.zeros((2, 2))).shape == (2, 2, 3)
    with pytest.raises(ShapeError, match=r"an image of shape \[3, 20, 20\].*channels in front; fix: image.movedim"):
        to_pixels(np.zeros((3, 20, 20)))
    for bad in (np.full((2, 2), 255.0), np.full((2, 2), -1.0), np.full((2, 2), np.nan)):
        with pytest.raises(SnnferError, match=r"an image with values from .*expected \[0, 1\]"):
            to_pixels(bad)
