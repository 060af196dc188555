"""``snnfer events``: look into, watch and convert event files."""

import argparse
from typing import TYPE_CHECKING, Any

from snnfer.cli._reading import add_read_options, read_options, warnings_as_text

if TYPE_CHECKING:
    from snnfer.events import EventSummary

FORMATS = "AEDAT4, Prophesee RAW and DAT, Event Stream, HDF5 (snnfer, DSEC, v2e), text, N-MNIST, ROS 1 bag"


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``events info``, ``events view`` and ``events convert``."""
    parser = subparsers.add_parser("events", help="look into, watch and convert event files")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_info(commands)
    _add_view(commands)
    _add_convert(commands)


def _add_info(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("info", help="format, sensor, duration, counts and rates", epilog=f"Reads {FORMATS}.")
    parser.add_argument("file", help="event file")
    add_read_options(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=show_info)


def _add_view(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "view",
        help="render a film (.mp4, .gif) or a contact sheet (.png)",
        description="ON events are vermilion, OFF events blue; the time since the first event stands below. A .png "
        "shows up to 8 windows, evenly spaced over the recording. --representation shows what a network sees instead: "
        "three channels as red, green and blue, one as grey, more in the colours of ON and OFF.",
    )
    parser.add_argument("file", help="event file")
    parser.add_argument("--out", required=True, metavar="PATH", help="film or picture to write: .mp4, .gif or .png")
    parser.add_argument("--fps", type=float, default=25.0, help="pictures per second (default: 25)")
    parser.add_argument("--window-ms", type=float, metavar="MS", help="time shown in one picture (default: 1000 / fps)")
    parser.add_argument(
        "--representation",
        default="count_frames",
        metavar="NAME",
        help="what is shown: count_frames, gray_frames, binary_frames, tie, est, ssr_histogram, ssr_event_queue, "
        "polarity_image (default: count_frames)",
    )
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting of the representation, such as measure=t0 or size=[256,256]; repeatable",
    )
    parser.add_argument(
        "--start", type=float, default=0.0, metavar="S", help="from this second after the first event on"
    )
    parser.add_argument("--end", type=float, metavar="S", help="up to this second after the first event")
    add_read_options(parser)
    parser.set_defaults(run=view)


def _add_convert(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "convert",
        help="convert to another format, without losing an event",
        description="The suffix of TARGET names the format: .h5 (snnfer), .aedat4, .raw, .dat, .es or .csv.",
    )
    parser.add_argument("source", help="event file to read")
    parser.add_argument("target", help="event file to write")
    parser.add_argument("--encoding", choices=("evt2", "evt3"), default="evt3", help="of a .raw target (default: evt3)")
    add_read_options(parser)
    parser.set_defaults(run=convert)


def show_info(args: argparse.Namespace) -> None:
    """Print what is in an event file."""
    import dataclasses
    import json

    from snnfer.events import summarise

    with warnings_as_text():
        summary = summarise(args.file, **read_options(args))
    print(json.dumps(dataclasses.asdict(summary), indent=2) if args.json else _format_summary(summary))


def view(args: argparse.Namespace) -> None:
    """Render an event file."""
    from snnfer.events import read
    from snnfer.plot.events import check_view, save_event_view

    check_view(args.out, args.fps)
    window_us = round(1e6 / args.fps if args.window_ms is None else args.window_ms * 1000)
    representation = _representation(args.representation, window_us, args.overrides)
    with warnings_as_text():
        stream = read(args.file, **read_options(args))
    origin_us = stream.t_start_us
    stream = _cut(stream, args.start, args.end)
    n_pictures = save_event_view(args.out, stream, fps=args.fps, representation=representation, t_origin_us=origin_us)
    print(f"{n_pictures} pictures of {len(stream):,} events written to {args.out}")


def convert(args: argparse.Namespace) -> None:
    """Convert an event file."""
    from snnfer import events

    with warnings_as_text():
        n_events = events.convert(args.source, args.target, encoding=args.encoding, **read_options(args))
    print(f"{n_events:,} events written to {args.target}")


def _representation(name: str, window_us: int, overrides: list[str]) -> Any:
    from snnfer._registry import look_up
    from snnfer.plot.events import counts_in
    from snnfer.representations import REPRESENTATIONS

    factory = look_up(REPRESENTATIONS, name, kind="representation")
    default = counts_in(window_us)
    if not overrides:
        return factory(window_us=default.window_us)
    from snnfer._config import apply_overrides, build_config

    values = apply_overrides({"window_us": default.window_us}, overrides)
    return build_config(factory, values, source="--set")  # type: ignore[arg-type]


def _cut(stream: Any, start_s: float, end_s: float | None) -> Any:
    from snnfer.errors import SnnferError

    duration_s = stream.duration_us / 1e6
    end = duration_s if end_s is None else end_s
    if not 0 <= start_s < end + 1e-6 or start_s > duration_s:
        raise SnnferError(
            f"--start {start_s:g}" + ("" if end_s is None else f" --end {end_s:g}"),
            expected=f"a range inside the recording, 0 to {duration_s:.3f} s",
        )
    first = stream.t_start_us
    last = first + stream.duration_us + 1 if end_s is None else first + round(end_s * 1e6)
    return stream.slice_time(first + round(start_s * 1e6), last)


def _format_summary(summary: "EventSummary") -> str:
    frames = ", ".join(f"{n:,} {name}" for name, n in summary.n_frames.items()) or "none"
    rows = {
        "file": summary.path,
        "format": summary.format,
        "sensor": f"{summary.width} x {summary.height} pixels",
        "events": f"{summary.n_events:,}",
        "polarity": f"{summary.on_share:.1%} ON, {1 - summary.on_share:.1%} OFF" if summary.n_events else "-",
        "start": f"{summary.t_start_us} us",
        "duration": f"{summary.duration_us / 1e6:.6f} s",
        "mean rate": f"{_rate(summary.mean_rate_hz)}",
        "peak rate": f"{_rate(summary.peak_rate_hz)} (busiest 10 ms)",
        "frames": frames,
    }
    return "\n".join(f"{name:<10} {value}" for name, value in rows.items())


def _rate(rate_hz: float) -> str:
    return f"{rate_hz / 1e6:.2f} million events/s" if rate_hz >= 1e6 else f"{rate_hz:,.0f} events/s"
