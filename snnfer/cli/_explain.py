"""``snnfer predict --grad-cam``: where a classifier looks while it scores a recording."""

import argparse
from typing import Any

N_PICTURES = 6


def save_grad_cam(args: argparse.Namespace, trained: Any, stream: Any, box: Any) -> None:
    """Write a picture of up to six windows over the recording, each at the step that counts most."""
    import numpy as np
    import torch

    from snnfer.plot import input_images, plot_grad_cam, save_figure
    from snnfer.training.explanation import grad_cam
    from snnfer.training.prediction import recording_windows, to_scores

    span_us, hop_us = _window_times(args, trained, stream.duration_us)
    images, maps, titles = [], [], []
    for start, end, x in recording_windows(trained.input, stream, box=box, span_us=span_us, hop_us=hop_us):
        y = trained.normalise(x[:, None])  # [T, 1, C, H, W]
        with torch.no_grad():
            scores = to_scores(trained, trained.model(y))[0]
        best = int(scores.argmax())
        cam = grad_cam(trained.model, y, target=best)[:, 0]  # [T, H, W]
        step = int(cam.amax((1, 2)).argmax())
        images.append(input_images(x.numpy(), trained.input)[step])
        maps.append(cam[step].numpy())
        seconds = (start + (end - start) * (step + 0.5) / len(x)) / 1e6
        titles.append(f"{seconds:.2f} s: {trained.class_names[best]} {float(scores[best]):.2f}")
    figure = plot_grad_cam(np.stack(images), np.stack(maps), titles, heading="Grad-CAM of the highest score")
    save_figure(figure, args.grad_cam)
    print(f"Grad-CAM: {args.grad_cam} ({len(images)} windows)")


def _window_times(args: argparse.Namespace, trained: Any, duration_us: int) -> tuple[int, int]:
    """Length of the windows and the time between them, in microseconds, so that there are at most `N_PICTURES`."""
    from snnfer.models import WindowClassifier

    model = trained.model
    own_us = trained.input.window_us * model.n_windows if isinstance(model, WindowClassifier) else 990_000
    span_us = own_us if args.window_ms is None else round(args.window_ms * 1e3)
    hop_us = 495_000 if args.hop_ms is None else round(args.hop_ms * 1e3)
    return span_us, max(hop_us, -(-duration_us // N_PICTURES))
