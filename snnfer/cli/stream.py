"""``snnfer stream``: the scores of every window of a recording, as they come."""

import argparse
import contextlib
import json
import sys
import warnings
from typing import Any

from snnfer.cli._reading import add_read_options, read_options, warnings_as_text
from snnfer.cli.predict import find_box, parse_box
from snnfer.errors import ConfigError

PERCENTILES = (50, 90, 99)


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``stream``."""
    parser = subparsers.add_parser(
        "stream",
        help="print the scores of every window of a recording as they come, and how long they took",
        description="Goes through a recording window by window with the state of the network kept, in constant memory "
        "whatever its length, and prints the scores of each window; Ctrl-C ends it. At the end: the scores of the "
        "whole stream (what 'snnfer predict' gives for the recording as one window), and percentiles of the latency, "
        "from having the events of a window to having its scores. The face is looked for at the beginning of the "
        "recording, before the clock starts. Times count from the first event.",
    )
    parser.add_argument("recording", help="event file, such as recording.aedat4")
    parser.add_argument("--model", required=True, metavar="DIR", help="model folder made by 'snnfer train'")
    parser.add_argument("--realtime", action="store_true",
                        help="wait for the times of the recording, and count the windows that come late: after the "
                        "end of the next one")  # fmt: skip
    parser.add_argument("--every", type=int, default=1, metavar="N", help="print every Nth window (default: 1)")
    parser.add_argument("--top", type=int, default=1, help="classes printed per window (default: 1)")
    parser.add_argument("--json", action="store_true",
                        help="one line of JSON per window with all scores, and one with the summary")  # fmt: skip
    parser.add_argument("--box", metavar="X,Y,W,H", help="face box in pixels, instead of looking for the face")
    parser.add_argument("--no-face", choices=("error", "whole"), default="error",
                        help="without a face: stop (default), or score the whole sensor image")  # fmt: skip
    parser.add_argument("--search-ms", type=float, default=3000.0, metavar="MS",
                        help="look for the face in this much of the recording (default: 3000)")  # fmt: skip
    parser.add_argument("--threads", type=int, default=1, help="threads of the processor (default: 1)")
    add_read_options(parser)
    parser.set_defaults(run=stream)


def stream(args: argparse.Namespace) -> int:
    """Score the windows of a recording and print them, then the summary."""
    _check_options(args)
    import torch

    from snnfer import events, load_model
    from snnfer.training.streaming import StreamSummary, stream_recording

    box = parse_box(args.box) if args.box else None
    torch.set_num_threads(args.threads)
    trained = load_model(args.model)
    with warnings_as_text(), events.open(args.recording, **read_options(args)) as reader:
        stream_recording(trained, reader, box=None)  # refuses a model that cannot stream, before a face is looked for
        box = box or _find_face(args)
        summary = StreamSummary(trained)
        interrupted = False
        try:
            for k, window in enumerate(stream_recording(trained, reader, box=box, realtime=args.realtime)):
                summary.add(window)
                if k % args.every == 0:
                    print(_json_line(window, trained, args) if args.json else _line(window, trained, args), flush=True)
        except KeyboardInterrupt:
            interrupted = True
    print_summary = _print_json_summary if args.json else _print_summary
    print_summary(summary, trained, args, interrupted=interrupted)
    return 130 if interrupted else 0


def _check_options(args: argparse.Namespace) -> None:
    for option in ("every", "top", "threads", "search_ms"):
        if not getattr(args, option) > 0:
            name = option.replace("_", "-")
            raise ConfigError(f"--{name} {getattr(args, option):g}", expected="a number above 0")


def _find_face(args: argparse.Namespace) -> tuple[int, int, int, int] | None:
    """The face at the beginning of the recording; what is said about it goes to stderr, away from the scores."""
    from snnfer import events

    with warnings.catch_warnings(), contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("ignore", events.EventFileWarning)  # said when the stream reads the file
        start = events.read_start(args.recording, round(args.search_ms * 1e3), **read_options(args))
        return find_box(start, args.no_face)


def _line(window: Any, trained: Any, args: argparse.Namespace) -> str:
    """Time, latency and best classes of a window."""
    from snnfer.datasets import class_meaning

    times = f"{window.t_start_us / 1e6:9.3f} - {window.t_end_us / 1e6:8.3f} s  {1e3 * window.latency_s:7.2f} ms"
    late = "  late" if args.realtime and window.is_late else ""
    if window.scores is None:
        return f"{times}  no events in the box{late}"
    best = (-window.scores).argsort(kind="stable")[: args.top]
    names = [trained.class_names[i] for i in best]
    shown = [f"{name} {class_meaning(name)} {window.scores[i]:.2f}" for name, i in zip(names, best, strict=True)]
    return f"{times}  {' | '.join(shown)}{late}"


def _json_line(window: Any, trained: Any, args: argparse.Namespace) -> str:
    return json.dumps(
        {
            "t_start_us": window.t_start_us,
            "t_end_us": window.t_end_us,
            "n_events": window.n_events,
            "latency_ms": round(1e3 * window.latency_s, 4),
            "delay_ms": round(1e3 * window.delay_s, 4),
            "late": args.realtime and window.is_late,
            "scores": _named(window.scores, trained),
        }
    )


def _named(scores: Any, trained: Any) -> dict[str, float] | None:
    if scores is None:
        return None
    return {name: round(float(value), 6) for name, value in zip(trained.class_names, scores, strict=True)}


def _print_summary(summary: Any, trained: Any, args: argparse.Namespace, *, interrupted: bool) -> None:
    from snnfer.datasets import class_meaning

    window_ms = trained.input.window_us / 1e3
    print(f"\n{summary.n_windows:,} windows of {window_ms:g} ms{' before the interruption' if interrupted else ''}")
    if not summary.n_windows:
        return
    if summary.scores is not None:
        best = (-summary.scores).argsort(kind="stable")[: max(args.top, 3)]
        names = [f"{trained.class_names[i]} {class_meaning(trained.class_names[i])}" for i in best]
        print("whole stream: " + " | ".join(f"{n} {summary.scores[i]:.3f}" for n, i in zip(names, best, strict=True)))
    print(f"latency per window ({args.threads} thread{'s' if args.threads > 1 else ''}):")
    rows = [(f"p{q}", 1e3 * summary.latency.percentile(q)) for q in PERCENTILES]
    for name, value in [*rows, ("max", 1e3 * summary.latency.largest_s)]:
        print(f"  {name:4} {value:8.3f} ms  {value / window_ms:7.2%} of a window")
    if args.realtime:
        print(f"late, after the end of the next window: {summary.n_late:,} of {summary.n_windows:,}")


def _print_json_summary(summary: Any, trained: Any, args: argparse.Namespace, *, interrupted: bool) -> None:
    latency = {f"p{q}": round(1e3 * summary.latency.percentile(q), 4) for q in PERCENTILES}
    latency["max"] = round(1e3 * summary.latency.largest_s, 4)
    content = {
        "n_windows": summary.n_windows,
        "n_late": summary.n_late if args.realtime else None,
        "interrupted": interrupted,
        "window_ms": trained.input.window_us / 1e3,
        "latency_ms": latency,
        "scores": _named(summary.scores, trained),
    }
    print(json.dumps({"summary": content}))
