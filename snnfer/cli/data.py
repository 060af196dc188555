"""``snnfer data``: check a data set before training on it."""

import argparse


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``data verify``."""
    parser = subparsers.add_parser("data", help="check a data set before training on it")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    verify = commands.add_parser("verify", help="read a manifest and every event file it names")
    verify.add_argument("path", help="manifest CSV or the folder that holds manifest.csv")
    verify.add_argument("--min-clips-per-subject", type=int, default=2, metavar="N", help="default: 2")
    verify.set_defaults(run=verify_data)


def verify_data(args: argparse.Namespace) -> int:
    """Read every clip and print what the data set holds."""
    from collections import Counter

    from snnfer._progress import progress
    from snnfer.datasets import ManifestDataset
    from snnfer.errors import DatasetError

    data = ManifestDataset.read(args.path, min_clips_per_subject=args.min_clips_per_subject)
    n_events = 0
    for clip in progress(data.clips, desc="reading"):
        stream = data.load(clip)
        if not len(stream):
            raise DatasetError(
                f"clip '{clip.clip}' holds no events between {clip.t_start_us} and {clip.t_end_us} us",
                cause="times in another unit, or counted from another start than the recording's",
                fix="correct t_start_us and t_end_us",
            )
        n_events += len(stream)
    print(f"{data.name}: {len(data.clips)} clips, {len(data.subjects)} subjects, {n_events:,} events")
    counts = Counter(clip.class_name for clip in data.clips)
    print("clips per class: " + ", ".join(f"{name} {counts[name]}" for name in data.class_names))
    print("subjects: " + ", ".join(data.subjects))
    return 0
