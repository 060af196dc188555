"""What a classifier has learned: where it looks, and how its features lie."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from snnfer.datasets import ClipInput
from snnfer.errors import ShapeError
from snnfer.plot.representations import representation_image, typical_value
from snnfer.plot.style import COLOURS, MARKERS, new_figure, tidy
from snnfer.representations import create_representation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEAT = "inferno"  # its lightness rises evenly, so that it reads without colour
COLUMNS = 3
DIMMED = 0.55  # brightness of the picture under a map, so that the map stands out


def plot_grad_cam(images: np.ndarray, maps: np.ndarray, titles: Sequence[str] = (), *, heading: str = "") -> "Figure":
    """Pictures, and below each the same with its Grad-CAM map over it.

    The brighter and the yellower, the more a place speaks for the class; where nothing does, the picture is grey.

    Args:
        images: Pictures ``[M, H, W, 3]``, uint8; see `input_images`.
        maps: Their maps ``[M, H, W]``, 0 to 1; see `snnfer.training.explanation.grad_cam`.
        titles: M titles, or none.
        heading: Printed above.

    Raises:
        ShapeError: the shapes do not fit, or there are no pictures.

    Examples:
        >>> figure = plot_grad_cam(np.zeros((2, 8, 8, 3), np.uint8), np.random.rand(2, 8, 8), ["AU4", "AU12"])
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['AU4', 'AU12']
    """
    images, maps = np.asarray(images), np.asarray(maps)
    if images.ndim != 4 or images.shape[3] != 3 or maps.shape != images.shape[:3] or not len(images):
        raise ShapeError(
            f"pictures of shape {list(images.shape)} with maps of shape {list(maps.shape)}",
            expected="[M, H, W, 3] and [M, H, W], M of 1 or more",
        )
    if titles and len(titles) != len(images):
        raise ShapeError(f"{len(titles)} titles for {len(images)} pictures", expected="one for each, or none")
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    figure = new_figure(0.9 + rows * (2 * 4.15 / COLUMNS * images.shape[1] / images.shape[2] + 0.25))
    panels = figure.subplots(2 * rows, columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    heat = None
    for i, (image, strength) in enumerate(zip(images, maps, strict=True)):
        row, column = 2 * (i // columns), i % columns
        panels[row, column].imshow(image, interpolation="nearest")
        panels[row, column].set_title(titles[i] if titles else "", fontsize=9)
        heat = _overlay(panels[row + 1, column], image, strength)
    bar = figure.colorbar(heat, ax=panels, location="bottom", shrink=0.8, aspect=30, pad=0.02)  # type: ignore[arg-type]
    bar.set_label("speaks for the class (1 = most in the clip)", fontsize=9)
    bar.ax.tick_params(labelsize=9)
    figure.suptitle(heading, fontsize=10)
    return figure


def _overlay(panel: "Axes", image: np.ndarray, strength: np.ndarray) -> object:
    grey = DIMMED * image.mean(axis=2)
    panel.imshow(grey, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    alpha = np.clip(1.2 * strength, 0, 0.6)
    return panel.imshow(strength, cmap=HEAT, vmin=0, vmax=1, alpha=alpha, interpolation="bilinear")


def input_images(x: np.ndarray, clip_input: ClipInput) -> np.ndarray:
    """The steps of a clip as pictures ``[T, H, W, 3]``, uint8.

    Of RGB with depth the RGB is shown, of depth its range in the clip as grey, of events their representation.

    Args:
        x: The clip ``[T, C, H, W]`` as `clip_input` gives it, not normalised.
        clip_input: How it was made.
    """
    if clip_input.modality == "events":
        return _event_images(x, clip_input)
    if clip_input.modality == "depth":
        low, high = float(x.min()), float(x.max())
        x = 255 * (x - low) / max(high - low, 1e-9)
    channels = x[:, :3] if x.shape[1] >= 3 else np.repeat(x[:, :1], 3, axis=1)
    return np.clip(np.moveaxis(channels, 1, -1), 0, 255).astype(np.uint8)


def _event_images(x: np.ndarray, clip_input: ClipInput) -> np.ndarray:
    representation = create_representation(
        clip_input.representation,
        window_us=clip_input.window_us,
        size=clip_input.size,
        n_steps=clip_input.n_steps,
        **clip_input.representation_args,
    )
    full_value = typical_value(x, representation)
    return np.stack([representation_image(frame, representation, full_value=full_value) for frame in x])


def plot_embedding(
    points: np.ndarray, labels: Sequence[int] | np.ndarray, class_names: Sequence[str], *, title: str = ""
) -> "Figure":
    """Samples as points in the plane, one colour and marker per class.

    Args:
        points: ``[n, 2]``; see `snnfer.training.embedding.embedding_map`.
        labels: Class index of each sample.
        class_names: K names; classes without samples are left out of the legend.
        title: Printed above.

    Raises:
        ShapeError: the shapes do not fit, or a label has no name.

    Examples:
        >>> figure = plot_embedding(np.random.rand(6, 2), [0, 0, 1, 1, 2, 2], ["anger", "fear", "joy"])
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['anger', 'fear', 'joy']
    """
    points, labels = np.asarray(points, dtype=float), np.asarray(labels)
    if points.ndim != 2 or points.shape[1] != 2 or labels.shape != points.shape[:1]:
        raise ShapeError(
            f"points of shape {list(points.shape)} with labels of shape {list(labels.shape)}", expected="[n, 2] and [n]"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < len(class_names):
        raise ShapeError(f"labels from {labels.min()} to {labels.max()}", expected=f"0 to {len(class_names) - 1}")
    present = np.unique(labels)
    legend_columns = min(4, max(1, len(present)))
    figure = new_figure(4.2 + 0.2 * -(-len(present) // legend_columns))
    axes = figure.subplots()
    for k in present:
        mine = points[labels == k]
        marker = MARKERS[(k + k // len(COLOURS)) % len(MARKERS)]  # beyond seven classes colours come again with others
        axes.scatter(mine[:, 0], mine[:, 1], s=26, color=COLOURS[k % len(COLOURS)], marker=marker, alpha=0.8,
                     edgecolors="white", linewidths=0.5, label=class_names[k])  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    tidy(axes, title=title)
    figure.legend(loc="outside lower center", ncols=legend_columns, fontsize=9, frameon=False)
    return figure
