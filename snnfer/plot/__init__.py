"""Figures of the field as matplotlib `Figure` objects: nothing is shown, no global state is touched.

Each function takes plain arrays and returns a figure; `save_figure` writes it. Colours are distinguishable under
colour blindness, text is readable on a phone.
"""

from snnfer.plot.activity import plot_event_frames, plot_raster
from snnfer.plot.classes import plot_confusion_matrix, plot_recall
from snnfer.plot.comparison import plot_operations, plot_subject_scores
from snnfer.plot.explanation import input_images, plot_embedding, plot_grad_cam
from snnfer.plot.over_time import plot_accuracy_over_time
from snnfer.plot.style import figure_png, save_figure
from snnfer.plot.trainings import plot_trainings

__all__ = [
    "figure_png",
    "input_images",
    "plot_accuracy_over_time",
    "plot_confusion_matrix",
    "plot_embedding",
    "plot_event_frames",
    "plot_grad_cam",
    "plot_operations",
    "plot_raster",
    "plot_recall",
    "plot_subject_scores",
    "plot_trainings",
    "save_figure",
]
