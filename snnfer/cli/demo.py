"""``snnfer demo``: the main job on the embedded data, from generation to report."""

import argparse
import os


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``demo``."""
    parser = subparsers.add_parser("demo", help="generate SynthAU, train, evaluate and report: the main job in minutes")
    parser.add_argument("--jobs", type=int, default=0, metavar="N", help="processes (default: one per core, at most 4)")
    parser.add_argument("--out", default="runs", metavar="DIR", help="folder that holds the runs (default: runs)")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="change a setting, such as train.epochs=5; may be repeated")  # fmt: skip
    parser.set_defaults(run=run_demo)


def run_demo(args: argparse.Namespace) -> int:
    """Run the demo benchmark and print its table."""
    from snnfer._memory import retain_freed_memory
    from snnfer.benchmark import load_config, run
    from snnfer.cli.benchmark import command_line, demo_config, parse_jobs, print_result

    retain_freed_memory()
    jobs = parse_jobs(args.jobs or min(4, os.cpu_count() or 1))
    config = load_config(demo_config(), args.overrides)
    print(f"{config.title}\n{config.notes}\n", flush=True)
    print_result(run(config, out=args.out, jobs=jobs, command=command_line()))
    return 0
