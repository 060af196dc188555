"""What a network sees and how it answers: event frames and spike rasters."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from snnfer.errors import ShapeError
from snnfer.plot.style import GREY, new_figure, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ON_COLOUR, OFF_COLOUR = (0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2)  # vermilion and blue: distinct for the colour-blind


def event_frame_image(frame: np.ndarray, *, full_count: float) -> np.ndarray:
    """Event counts as a picture: ON vermilion, OFF blue, on white; more events are more saturated.

    Args:
        frame: Counts ``[2, H, W]``, channel 0 OFF and 1 ON.
        full_count: Count that gets the full colour.

    Returns:
        ``[H, W, 3]``, uint8.
    """
    strength = np.clip(np.asarray(frame, dtype=float) / max(full_count, 1e-9), 0, 1) ** 0.6
    image = np.ones((*frame.shape[1:], 3))
    for channel, colour in ((0, OFF_COLOUR), (1, ON_COLOUR)):
        image *= 1 - strength[channel, ..., None] * (1 - np.array(colour) / 255)
    return np.round(255 * image).astype(np.uint8)


def plot_event_frames(
    frames: np.ndarray, *, step_s: float | None = None, rgb: np.ndarray | None = None, n_shown: int = 6
) -> "Figure":
    """A strip of event frames over time, with the RGB frames of the same moments below if they are given.

    Args:
        frames: Event counts ``[T, 2, H, W]``, channel 0 OFF and 1 ON; or pictures ``[T, H, W, 3]``, uint8, of another
            representation.
        step_s: Length of a step in seconds; None counts steps instead.
        rgb: RGB frames ``[T, 3, H, W]``, uint8.
        n_shown: Moments shown, evenly spaced over the clip.

    Raises:
        ShapeError: the frames are not of those shapes, or there are none.

    Examples:
        >>> figure = plot_event_frames(np.random.default_rng(0).poisson(0.1, (12, 2, 16, 16)), step_s=0.033)
        >>> len(figure.axes)
        6
    """
    frames = np.asarray(frames)
    are_pictures = frames.ndim == 4 and frames.shape[1] != 2 and frames.shape[3] == 3 and frames.dtype == np.uint8
    if frames.ndim != 4 or not (are_pictures or frames.shape[1] == 2) or not len(frames):
        raise ShapeError(
            f"event frames of shape {list(frames.shape)}",
            expected="[T, 2, H, W] with T of 1 or more, or pictures [T, H, W, 3]",
        )
    if rgb is not None and (rgb.ndim != 4 or rgb.shape[1] != 3):
        raise ShapeError(f"RGB frames of shape {list(rgb.shape)}", expected="[T, 3, H, W]")
    n_shown = min(n_shown, len(frames))
    centres = ((np.arange(n_shown) + 0.5) * len(frames) / n_shown).astype(int)
    columns = min(n_shown, 3)
    per_row = 1 if rgb is None else 2
    rows = -(-n_shown // columns)
    figure = new_figure(0.35 + rows * per_row * 1.45 + 0.2 * rows)
    panels = figure.subplots(rows * per_row, columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    occupied = frames[frames > 0]
    full_count = float(np.quantile(occupied, 0.95)) if occupied.size else 1.0
    for i, t in enumerate(centres):
        panel = panels[i // columns * per_row, i % columns]
        picture = frames[t] if are_pictures else event_frame_image(frames[t], full_count=full_count)
        panel.imshow(picture, interpolation="nearest")
        panel.set_title(f"{(t + 0.5) * step_s:.2f} s" if step_s else f"step {t + 1}", fontsize=9)
        _frame(panel)
        if rgb is not None and t < len(rgb):
            below = panels[i // columns * per_row + 1, i % columns]
            below.imshow(np.moveaxis(rgb[t], 0, -1).astype(np.uint8), interpolation="nearest")
            _frame(below)
    if not are_pictures:
        _polarity_legend(figure)
    return figure


def plot_raster(rasters: Mapping[str, np.ndarray], *, step_s: float | None = None) -> "Figure":
    """Spikes over time, one panel per layer, one line per neuron.

    Args:
        rasters: Layer name to spikes ``[T, n_neurons]``, bool.
        step_s: Length of a step in seconds; None counts steps instead.

    Raises:
        ShapeError: a raster is not ``[T, n_neurons]``.

    Examples:
        >>> spikes = np.random.default_rng(0).random((76, 50)) < 0.1
        >>> plot_raster({"fc1": spikes}, step_s=0.033).axes[0].get_ylabel()
        'neuron'
    """
    heights = [0.75 + 0.007 * raster.shape[-1] for raster in rasters.values()]
    figure = new_figure(0.4 + sum(heights))
    panels = figure.subplots(len(rasters), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for panel, (name, raster) in zip(panels, rasters.items(), strict=True):
        if raster.ndim != 2:
            raise ShapeError(f"the raster of '{name}' has shape {list(raster.shape)}", expected="[T, n_neurons]")
        steps, neurons = np.nonzero(raster)
        unit = step_s or 1
        panel.scatter((steps + 0.5) * unit, neurons, s=7, marker="|", color="black", linewidths=0.9)
        panel.set_xlim(0, len(raster) * unit)
        panel.set_ylim(-1, raster.shape[1])
        tidy(panel, ylabel="neuron", title=f"{name}: {raster.mean():.3f} spikes per neuron and step")
    panels[-1].set_xlabel("time (s)" if step_s else "step", fontsize=10)
    return figure


def _frame(panel: "Axes") -> None:
    panel.set_axis_on()
    panel.set_xticks([])
    panel.set_yticks([])
    panel.spines[:].set_color("#bbbbbb")


def _polarity_legend(figure: "Figure") -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="s", linestyle="", color="#{:02x}{:02x}{:02x}".format(*colour), label=label)
        for colour, label in ((ON_COLOUR, "ON: brighter"), (OFF_COLOUR, "OFF: darker"))
    ]
    handles.append(Line2D([], [], marker="s", linestyle="", markerfacecolor="white", color=GREY, label="no event"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
