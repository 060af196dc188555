"""What the figures show, read back from their artists and pixels."""

import numpy as np
import pytest

from snnfer.errors import ShapeError

matplotlib = pytest.importorskip("matplotlib", reason="figures need matplotlib; it comes with snnfer[plot]")

from snnfer import plot  # noqa: E402
from snnfer.plot.activity import OFF_COLOUR, ON_COLOUR, event_frame_image  # noqa: E402
from snnfer.plot.scores import save_scores_plot  # noqa: E402
from snnfer.plot.style import COLOURS  # noqa: E402

SCORES = {"au_snn, events": [0.2, 0.4, 0.4, 0.6], "au_snn, rgb": [0.1, 0.1, 0.2, 0.4]}
INTERVALS = {"au_snn, events": (0.4, 0.25, 0.55), "au_snn, rgb": (0.2, None, None)}


def draw(name):
    """A figure of the kind `name`."""
    rng = np.random.default_rng(0)
    aus = [f"AU{i}" for i in range(21)]
    kinds = {
        "subjects": lambda: plot.plot_subject_scores(SCORES, INTERVALS, chance=1 / 21),
        "confusion": lambda: plot.plot_confusion_matrix(rng.integers(0, 7, (21, 21)), aus, title="au_snn, events"),
        "recall": lambda: plot.plot_recall(rng.random((21, 2)), aus, list(SCORES)),
        "time": lambda: plot.plot_accuracy_over_time({"a": [0.1, 0.5], "b": [0.2, 0.4]}, chance=0.05, step_s=0.033),
        "operations": lambda: plot.plot_operations(["a", "b"], [4e6, 1.3e7], [2e8, None], [6e7, 0]),
        "raster": lambda: plot.plot_raster({"plif1": rng.random((76, 100)) < 0.05, "plif2": rng.random((76, 9)) < 0.1}),
        "frames": lambda: plot.plot_event_frames(
            rng.poisson(0.2, (12, 2, 16, 16)), step_s=0.033, rgb=np.zeros((12, 3, 16, 16), dtype=np.uint8)
        ),
    }
    return kinds[name]()


@pytest.mark.parametrize("name", ["subjects", "confusion", "recall", "time", "operations", "raster", "frames"])
def test_every_figure_is_drawn_the_same_twice_without_global_state(name):
    before = dict(matplotlib.rcParams)
    first, second = plot.figure_png(draw(name)), plot.figure_png(draw(name))
    assert first == second
    assert first.startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", ["subjects", "confusion", "time", "operations", "raster"])
def test_axes_name_their_quantity_and_unit(name):
    figure = draw(name)
    labels = {axes.get_xlabel() for axes in figure.axes} | {axes.get_ylabel() for axes in figure.axes}
    expected = {
        "subjects": {"top-1 accuracy (%)"},
        "confusion": {"predicted", "true"},
        "time": {"top-1 accuracy (%)", "time since the start of the clip (s)"},
        "operations": {"parameters", "operations per clip"},
        "raster": {"neuron", "step"},
    }[name]
    assert labels - {""} == expected


@pytest.mark.parametrize("name", ["subjects", "confusion", "recall", "time", "operations", "raster", "frames"])
def test_no_text_leaves_the_figure_or_is_smaller_than_eight_points(name):
    figure = draw(name)
    figure.draw_without_rendering()
    texts = [t for t in figure.findobj(matplotlib.text.Text) if t.get_text() and t.get_visible()]
    width, height = figure.get_size_inches() * figure.dpi
    labels = [t for axes in figure.axes for t in (*axes.get_xticklabels(), *axes.get_yticklabels())]
    for text in texts:
        assert text.get_fontsize() >= 8
        if text not in labels:  # matplotlib keeps tick labels outside the limits
            box = text.get_window_extent()
            assert box.x0 >= -1
            assert box.y0 >= -1
            assert box.x1 <= width + 1
            assert box.y1 <= height + 1


def test_every_subject_is_a_dot_and_the_interval_a_bar():
    axes = draw("subjects").axes[0]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    for line, (name, values) in zip(dots, SCORES.items(), strict=True):
        np.testing.assert_allclose(line.get_xdata(), 100 * np.array(values), err_msg=name)
        places = {(round(x, 6), round(y, 6)) for x, y in zip(*line.get_data(), strict=True)}
        assert len(places) == len(values)  # equal subjects stay visible
    bars = [line.get_xdata() for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 3]
    np.testing.assert_allclose(bars, [[25, 55]])


def test_confusion_counts_stand_in_row_true_and_column_predicted():
    matrix = np.array([[5, 0], [2, 3]])
    texts = plot.plot_confusion_matrix(matrix, ["AU4", "AU12"]).axes[0].texts
    assert {(t.get_position(), t.get_text()) for t in texts} == {((0, 0), "5"), ((0, 1), "2"), ((1, 1), "3")}


def test_curves_keep_their_colour_when_another_is_missing():
    axes = plot.plot_accuracy_over_time({"a": None, "b": [0.2, 0.3]}, chance=0.05).axes[0]
    assert axes.lines[0].get_color() == COLOURS[1]
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [1, 2])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [20, 30])
    assert axes.get_xlabel() == "steps since the start of the clip"


def test_operations_that_were_not_counted_are_said_so():
    lower = draw("operations").axes[1]
    assert [t.get_text() for t in lower.texts] == ["200 M", "not counted", "60 M", "0"]


def test_raster_marks_are_the_spikes():
    spikes = np.zeros((4, 3), dtype=bool)
    spikes[1, 2] = spikes[3, 0] = True
    axes = plot.plot_raster({"fc": spikes}, step_s=0.5).axes[0]
    np.testing.assert_allclose(np.asarray(axes.collections[0].get_offsets()), [[0.75, 2], [1.75, 0]])
    assert axes.get_title(loc="left") == "fc: 0.167 spikes per neuron and step"


def test_event_colours_are_the_polarities():
    frame = np.zeros((2, 1, 3))
    frame[1, 0, 0] = frame[0, 0, 1] = 5
    assert event_frame_image(frame, full_count=5).tolist() == [[list(ON_COLOUR), list(OFF_COLOUR), [255, 255, 255]]]
    faint = event_frame_image(frame, full_count=50)
    assert (faint[0, :2] > event_frame_image(frame, full_count=5)[0, :2]).any()


def test_event_frames_shown_are_evenly_spaced_and_beside_their_rgb_frames():
    frames = np.zeros((12, 2, 4, 4))
    rgb = np.broadcast_to(np.arange(12, dtype=np.uint8)[:, None, None, None], (12, 3, 4, 4))
    panels = plot.plot_event_frames(frames, rgb=rgb, n_shown=3).axes
    assert [panel.get_title() for panel in panels[:3]] == ["step 3", "step 7", "step 11"]
    assert [panel.images[0].get_array()[0, 0, 0] for panel in panels[3:]] == [2, 6, 10]


def test_an_empty_clip_can_be_shown():
    assert plot.figure_png(plot.plot_event_frames(np.zeros((1, 2, 4, 4))))


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_figures_are_saved_whole_in_the_format_of_their_ending(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    plot.save_figure(draw("time"), path)
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"%PDF-", b"<?xml")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: plot.plot_confusion_matrix(np.zeros((2, 3)), ["a", "b"]), r"\[2, 3\] for 2 classes"),
        (lambda: plot.plot_recall(np.zeros((2, 3)), ["a", "b"], ["n"]), "2 classes, 1 networks"),
        (lambda: plot.plot_operations(["a"], [1], [1], []), "1 names, 1 parameters, 1 MACs, 0 ACs"),
        (lambda: plot.plot_raster({"fc": np.zeros(3)}), r"\[T, n_neurons\]"),
        (lambda: plot.plot_event_frames(np.zeros((0, 2, 4, 4))), "T of 1 or more"),
        (lambda: plot.plot_event_frames(np.zeros((3, 4, 4))), r"\[T, 2, H, W\]"),
        (lambda: plot.plot_event_frames(np.zeros((3, 2, 4, 4)), rgb=np.zeros((3, 4, 4, 3))), r"\[T, 3, H, W\]"),
    ],
)
def test_wrong_shapes_are_named(call, match):
    with pytest.raises(ShapeError, match=match):
        call()


def test_scores_over_time_label_the_exact_middle_and_mark_only_windows_with_a_best_class(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, *_, **__: drawn.append(figure))
    scores = np.array([[0.1, 0.9], [0, 0], [0.3, 0.2], [0.5, 0.5]])
    starts = np.arange(4) * 495_000
    save_scores_plot(tmp_path / "a.png", starts, starts + 990_000, scores, ["AU2", "AU12"])
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.495", "0.990", "1.485", "1.980"]
    assert axes.lines[0].get_xydata().tolist() == [[0, 1], [2, 0]]
    save_scores_plot(tmp_path / "b.png", starts * 2, starts * 2 + 20_000, scores * 0, ["AU2", "AU12"])
    axes = drawn[1].axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.01", "1.00", "1.99", "2.98"]
    assert len(axes.lines[0].get_xydata()) == 0
