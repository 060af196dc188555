"""``snnfer benchmark``: run a comparison, rebuild its report, list what there is."""

import argparse
import shlex
import sys
from pathlib import Path

from snnfer.errors import ConfigError


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``benchmark run|report|list``."""
    parser = subparsers.add_parser("benchmark", help="compare models leave-one-subject-out and report with intervals")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="run (or complete) a benchmark config")
    run.add_argument("config", help="YAML file, such as benchmarks/configs/au_loso.yaml")
    add_run_options(run)
    run.set_defaults(run=run_benchmark)

    report = commands.add_parser("report", help="rebuild every number and figure from the stored predictions")
    report.add_argument("run_dir", help="folder of a run, such as runs/au_loso-1a2b3c")
    report.set_defaults(run=rebuild_report)

    listing = commands.add_parser("list", help="list the benchmark configs at hand")
    listing.set_defaults(run=list_configs)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Options shared by every command that runs a benchmark."""
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="change a setting, such as train.epochs=5; may be repeated")  # fmt: skip
    parser.add_argument("--jobs", type=int, metavar="N",
                        help="trainings at the same time (default: 1; on a cluster, as many as fit)")  # fmt: skip
    parser.add_argument("--engine", choices=("local", "ray"), default="local",
                        help="where they run: this machine, or a Ray cluster")  # fmt: skip
    parser.add_argument("--address", default="", metavar="HOST:PORT",
                        help="the Ray cluster (default: $RAY_ADDRESS, else one on this machine)")  # fmt: skip
    parser.add_argument(
        "--shard", default="1/1", metavar="I/N", help="run every N-th job from the I-th, for job arrays"
    )
    parser.add_argument("--out", default="runs", metavar="DIR", help="folder that holds the runs (default: runs)")


def run_benchmark(args: argparse.Namespace) -> int:
    """Run a config and print its table."""
    import yaml

    from snnfer._config import to_dict
    from snnfer._memory import retain_freed_memory
    from snnfer.benchmark import load_config, run

    retain_freed_memory()
    config = load_config(args.config, args.overrides)
    print(f"# {config.run_id}, effective config:\n{yaml.safe_dump(to_dict(config), sort_keys=False)}", flush=True)
    run_dir = run(
        config,
        out=args.out,
        jobs=0 if args.jobs is None else parse_jobs(args.jobs),
        engine=args.engine,
        address=args.address,
        shard=parse_shard(args.shard),
        command=command_line(),
    )
    print_result(run_dir)
    return 0


def rebuild_report(args: argparse.Namespace) -> int:
    """Rebuild a report from its stored predictions."""
    from snnfer.benchmark import write_report

    write_report(Path(args.run_dir))
    print_result(Path(args.run_dir))
    return 0


def list_configs(args: argparse.Namespace) -> int:
    """List the configs in ``benchmarks/configs`` of the current folder and the one inside the package."""
    from snnfer._config import read_yaml

    found = [*sorted(Path("benchmarks/configs").glob("*.yaml")), demo_config()]
    for path in found:
        print(f"{path}: {read_yaml(path).get('title', path.stem)}")
    return 0


def demo_config() -> Path:
    """The config of ``snnfer demo``, shipped inside the package."""
    from importlib import resources

    return Path(str(resources.files("snnfer.benchmark") / "configs" / "demo.yaml"))


def print_result(run_dir: Path) -> None:
    """Print the main table and where the report is."""
    from snnfer.benchmark.table import result_table

    print(result_table(run_dir))
    print(f"\nReport: {(run_dir / 'report.html').resolve()}")


def parse_jobs(jobs: int) -> int:
    """Check ``--jobs``."""
    if jobs < 1:
        raise ConfigError(f"--jobs {jobs}", expected="1 or more")
    return jobs


def parse_shard(text: str) -> tuple[int, int]:
    """Check and split ``--shard I/N``."""
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise ConfigError(f"--shard {text}", expected="I/N with I from 1 to N, such as 2/8")
    return int(index), int(count)


def command_line() -> str:
    """The command as it was typed."""
    return shlex.join(["snnfer", *sys.argv[1:]])
