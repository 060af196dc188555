"""``snnfer synth``: make a data set of people who do not exist."""

import argparse

_FLAGS = {
    "subjects": "n_subjects",
    "seed": "seed",
    "difficulty": "difficulty",
    "lux": "lux",
    "events_format": "events_format",
}


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``synth``."""
    parser = subparsers.add_parser(
        "synth",
        help="make a synthetic data set: people who do not exist act Action Units",
        description="Make a synthetic data set. Running the same command again goes on where it stopped.",
        epilog="Example: snnfer synth --preset small --out data/synth --jobs 2",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--preset",
        default="small",
        choices=("tiny", "small", "paper", "large"),
        help="size: tiny (3 subjects, 128x96), small (5, 173x130), paper (7, 346x260), large (60 x 3); default: small",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes to use; default: 1")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of everything; default: 0")
    parser.add_argument("--subjects", type=int, metavar="N", help="number of people")
    parser.add_argument("--difficulty", choices=("easy", "base", "hard", "micro"), help="default: base")
    parser.add_argument("--lux", type=float, metavar="X", help="illuminance; default: 150 to 1400, drawn per person")
    parser.add_argument("--events-format", choices=("hdf5", "aedat4"), help="file format of the events; default: hdf5")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any other field of SynthConfig, such as fps=60"
    )
    parser.set_defaults(run=run_synth)


def run_synth(args: argparse.Namespace) -> int:
    """Generate and print what is there."""
    from snnfer.synth import generate

    config = config_from_args(args)
    folder = generate(args.out, config, jobs=args.jobs)
    clips = len(config.aus) * config.n_subjects * config.n_repetitions
    files = [path for path in folder.rglob("*") if path.is_file()]
    size_mb = sum(path.stat().st_size for path in files) / 1e6
    print(
        f"{folder}: {clips} clips, {config.n_subjects} subjects x {len(config.aus)} Action Units x "
        f"{config.n_repetitions}, {config.width}x{config.height}, {config.difficulty}, {size_mb:.0f} MB"
    )
    print(f"next: snnfer data verify {folder / 'manifest.csv'}")
    return 0


def config_from_args(args: argparse.Namespace):
    """The preset with the changes of the command line."""
    from snnfer._config import apply_overrides, build_config, to_dict
    from snnfer.synth import SynthConfig

    values = to_dict(SynthConfig.preset(args.preset))
    values |= {field: getattr(args, flag) for flag, field in _FLAGS.items() if getattr(args, flag) is not None}
    return build_config(SynthConfig, apply_overrides(values, args.set), source="the command line")
