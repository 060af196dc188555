"""``snnfer predict --reconstruct``: a film of the reconstructed face beside the events."""

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

from snnfer.errors import ConfigError, SnnferError


def check_reconstruct_options(args: argparse.Namespace) -> None:
    """Refuse, before any work, options that exclude each other and files that are no film."""
    if not args.reconstruct:
        return
    from snnfer.plot._film import check_film

    check_film(args.reconstruct, fps=25)
    for option, value in (("--window-ms", args.window_ms), ("--hop-ms", args.hop_ms)):
        if value is not None:
            raise ConfigError(
                f"{option} with --reconstruct",
                cause="the film shows every window of the model, one after the other",
                fix=f"leave out {option}",
            )


def choose_networks(args: argparse.Namespace, trained: Any) -> tuple[Any, Any] | None:
    """Classifier (or None) and generator for a film; None if no film is wanted."""
    from snnfer.plot._film import check_film
    from snnfer.training.window_prediction import is_reconstruction, load_networks

    if args.reconstruct:
        networks = load_networks(args.model, trained)
        try:
            check_film(args.reconstruct, frame_rate(networks[1]))
        except SnnferError as error:
            raise SnnferError(error.given, cause="the windows of the model set the speed", fix="write .mp4") from error
        if networks[0] is None:
            refuse_score_files(args)
        return networks
    if is_reconstruction(trained):
        raise ConfigError(
            f"the model in '{args.model}' reconstructs and has no classes",
            fix="write a film with --reconstruct out.mp4",
        )
    return None


def refuse_score_files(args: argparse.Namespace) -> None:
    """A model without classes has no scores to write."""
    for option, value in (("--csv", args.csv), ("--plot", args.plot), ("--grad-cam", args.grad_cam)):
        if value:
            raise ConfigError(f"{option} for a model that has no classes", fix=f"leave out {option}")


def frame_rate(trained: Any) -> float:
    """Windows per second."""
    return 1e6 / trained.input.window_us


def film_scores(args: argparse.Namespace, classifier: Any, generator: Any, stream: Any, box: Any) -> Any:
    """Write the film; the scores of its windows, or None without a classifier."""
    from snnfer._progress import progress
    from snnfer.plot.reconstruction import save_reconstruction_film
    from snnfer.training.window_prediction import collect_scores, count_recording_windows, predict_windows

    windows = predict_windows(stream, classifier=classifier, generator=generator, box=box)
    windows = progress(windows, total=count_recording_windows(generator, stream), desc="film", unit="window")
    seen: list[Any] = []
    steps = film_steps(windows, classifier, typical_count(generator, stream, box), seen, top=args.top)
    n_scores = 0 if classifier is None else min(args.top, len(classifier.class_names))
    n_pictures = save_reconstruction_film(args.reconstruct, steps, fps=frame_rate(generator), n_scores=n_scores)
    print(f"film: {args.reconstruct} ({n_pictures} windows)")
    return None if classifier is None else collect_scores(seen, classifier.class_names)


def film_steps(windows: Iterable[Any], classifier: Any, full_count: float, seen: list[Any], *, top: int) -> Iterator:
    """Pictures and scores of each window for the film; `seen` gets the predictions without their pictures."""
    from dataclasses import replace

    import numpy as np

    from snnfer.plot.activity import event_frame_image

    for window in windows:
        best: list[tuple[str, float]] = []
        if window.scores is not None:
            order = np.argsort(-window.scores, kind="stable")[:top]
            best = [(classifier.class_names[i], float(window.scores[i])) for i in order]
        events = event_frame_image(window.counts.numpy(), full_count=full_count)
        frame = None if window.frame is None else window.frame.movedim(0, -1)
        yield window.t_end_us, events, frame, best
        seen.append(replace(window, counts=None, frame=None))


def typical_count(generator: Any, stream: Any, box: Any) -> float:
    """Count of a pixel that gets the full colour, from four windows of the recording."""
    import numpy as np

    from snnfer.plot.representations import typical_value
    from snnfer.representations import CountFrames
    from snnfer.training.window_prediction import count_recording_windows

    frames = CountFrames(generator.input.window_us, n_steps=1, size=generator.input.size)
    some = np.linspace(0, count_recording_windows(generator, stream), 9).astype(int)[1::2]
    starts = (stream.t_start_us + some * frames.window_us).tolist()
    counts = (frames(stream, t_start_us=t, t_end_us=t + frames.window_us, box=box)[0].numpy() for t in starts)
    return typical_value(counts, frames)
