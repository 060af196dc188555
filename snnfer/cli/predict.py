"""``snnfer predict``: scores over time for a recording."""

import argparse
from typing import Any

from snnfer.cli._film import check_reconstruct_options, choose_networks, film_scores
from snnfer.cli._reading import add_read_options, read_options, warnings_as_text
from snnfer.errors import ConfigError


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``predict``."""
    parser = subparsers.add_parser(
        "predict",
        help="print scores of Action Units or expressions over time for a recording",
        description="Finds the face (on frames where there are some, else on images of the events), crops it and "
        "scores sliding windows with a trained model. Models of single windows, such as evtransfer, give the "
        "probability of each expression after every window; models that divide whole clips into slices take each "
        "window as a clip, so --window-ms should be about as long as the clips they were trained on. Times count from "
        "the first event.",
    )
    parser.add_argument("model", help="model folder made by 'snnfer train'")
    parser.add_argument("recording", help="event file, such as recording.aedat4")
    parser.add_argument("--csv", metavar="FILE", help="write all scores as CSV")
    parser.add_argument("--plot", metavar="FILE", help="write a picture of the scores over time (.png, .pdf, .svg)")
    parser.add_argument(
        "--grad-cam",
        metavar="FILE",
        help="write a picture of where the network looks, for its best class (.png, .pdf, .svg)",
    )
    parser.add_argument("--reconstruct", metavar="FILE",
                        help="write a film (.mp4, .gif) of the reconstructed face beside the events, with the scores "
                        "below; MODEL holds a generator in generator/, or is a reconstruction model")  # fmt: skip
    parser.add_argument("--window-ms", type=float, metavar="MS",
                        help="length of a window (default: 990; models of single windows: their own)")  # fmt: skip
    parser.add_argument("--hop-ms", type=float, metavar="MS",
                        help="time between windows (default: 495; models of single windows: their own)")  # fmt: skip
    parser.add_argument("--box", metavar="X,Y,W,H", help="face box in pixels, instead of looking for the face")
    parser.add_argument("--no-face", choices=("error", "whole"), default="error",
                        help="without a face: stop (default), or score the whole sensor image")  # fmt: skip
    parser.add_argument("--top", type=int, default=3, help="classes printed per window (default: 3)")
    add_read_options(parser)
    parser.set_defaults(run=predict)


def predict(args: argparse.Namespace) -> int:
    """Score a recording, print, and write what was asked for."""
    from snnfer import events, load_model
    from snnfer._files import check_target
    from snnfer.plot.style import check_picture

    for target in filter(None, (args.csv, args.plot, args.grad_cam, args.reconstruct)):
        check_target(target)
    for picture in filter(None, (args.plot, args.grad_cam)):
        check_picture(picture)
    check_reconstruct_options(args)
    trained = load_model(args.model)
    networks = choose_networks(args, trained)
    with warnings_as_text():
        stream = events.read(args.recording, **read_options(args))
    box = parse_box(args.box) if args.box else find_box(stream, args.no_face)
    scores = film_scores(args, *networks, stream, box) if networks else score(args, trained, stream, box)
    if scores is None:
        return 0
    print_scores(scores, args.top)
    if args.csv:
        write_csv(args.csv, scores)
        print(f"scores: {args.csv}")
    if args.plot:
        from snnfer.plot.scores import save_scores_plot

        save_scores_plot(args.plot, scores.t_start_us, scores.t_end_us, scores.scores, scores.class_names)
        print(f"picture: {args.plot}")
    if args.grad_cam:
        from snnfer.cli._explain import save_grad_cam

        save_grad_cam(args, networks[0] if networks else trained, stream, box)
    return 0


def score(args: argparse.Namespace, trained: Any, stream: Any, box: Any) -> Any:
    """Scores of sliding windows, or of every window for models of single windows."""
    from snnfer.models.window_classifier import scores_windows
    from snnfer.training.prediction import predict_recording
    from snnfer.training.window_prediction import collect_scores, predict_windows

    of_windows = scores_windows(trained.model) and trained.input.slicing == "time"
    if of_windows and args.window_ms is None and args.hop_ms is None:
        return collect_scores(predict_windows(stream, classifier=trained, box=box), trained.class_names)
    span_ms = 990.0 if args.window_ms is None else args.window_ms
    hop_ms = 495.0 if args.hop_ms is None else args.hop_ms
    return predict_recording(trained, stream, box=box, span_us=round(span_ms * 1e3), hop_us=round(hop_ms * 1e3))


def parse_box(text: str) -> tuple[int, int, int, int]:
    """``X,Y,W,H`` as four whole numbers, the size above zero."""
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--box {text}", expected="four whole numbers X,Y,W,H, such as 80,20,160,160") from error
    if width <= 0 or height <= 0:
        raise ConfigError(f"--box {text}", expected="a width and height above 0")
    return x, y, width, height


def find_box(stream: Any, no_face: str) -> tuple[int, int, int, int] | None:
    """Face box of a recording; says where it was found, or that there is none."""
    from snnfer.errors import FaceError
    from snnfer.faces import locate_face

    try:
        face = locate_face(stream)
    except FaceError as error:
        if no_face == "error":
            raise FaceError(
                error.given, fix="give --box X,Y,W,H, or --no-face whole to score the whole sensor image"
            ) from error
        print("no face found: scoring the whole sensor image")
        return None
    x, y, width, height = face.box
    print(f"face on {face.source} at x {x}, y {y}, {width} x {height} pixels")
    return x, y, width, height


def print_scores(scores: Any, top: int) -> None:
    """One line per window: its time and best classes."""
    from snnfer.datasets import class_meaning

    print(f"{'window (s)':>16}  best {top} classes with scores")
    for i in range(len(scores.scores)):
        start, end = scores.t_start_us[i] / 1e6, scores.t_end_us[i] / 1e6
        best = [f"{name} {class_meaning(name)} {value:.2f}" for name, value in scores.top(i, top)]
        print(f"{start:7.3f} - {end:6.3f}  " + " | ".join(best))


def write_csv(path: str, scores: Any) -> None:
    """All scores, one row per window, times in microseconds."""
    import csv

    from snnfer._files import atomic_path

    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["t_start_us", "t_end_us", *scores.class_names])
        for start, end, row in zip(scores.t_start_us, scores.t_end_us, scores.scores, strict=True):
            writer.writerow([int(start), int(end), *(f"{value:.6f}" for value in row)])
