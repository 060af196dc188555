"""``snnfer export check``: what of a network can be exported, and what it needs on a chip."""

import argparse
from typing import Any

from snnfer.cli._export_input import add_model_argument


def add_action(actions: argparse._SubParsersAction) -> None:
    """Add ``check``."""
    parser = actions.add_parser(
        "check",
        help="say for each layer whether lava and NIR can have it, and what it needs on Loihi",
        description="Says for each layer of a network whether it can be exported to lava (Loihi) and NIR: exactly, "
        "after rewriting, or not and why; then cores, axons and synaptic memory on Loihi 1 and 2, and what to change "
        "where it does not fit. No weights are needed: give a model name before training.",
    )
    add_model_argument(parser, by_name=True)
    parser.add_argument("--json", metavar="FILE", help="write the check as JSON")
    parser.set_defaults(run=check)


def check(args: argparse.Namespace) -> int:
    """Print the table, and write it where asked for."""
    from snnfer._files import check_target, write_json
    from snnfer.cli._export_input import load_exported
    from snnfer.converters.check import check_export

    if args.json:
        check_target(args.json)
    exported = load_exported(args.model, args.overrides)
    result = check_export(exported.model)
    print(result.table())
    if exported.trained is not None:
        print(input_line(exported.trained))
    if args.json:
        write_json(args.json, result.to_dict())
        print(f"check: {args.json}")
    return 0


def input_line(trained: Any) -> str:
    """What the input of a trained network means for a chip."""
    from snnfer.cli._netx_metadata import message_bits
    from snnfer.errors import ExportError

    try:
        bits = message_bits(trained)
    except ExportError as error:
        return f"input: {error.given}, which lava cannot take; fix: {error.fix}"
    if bits:
        return f"input: event counts, {bits} bits in graded spikes: Loihi 2; for Loihi 1 train on binary_frames"
    return "input: spikes"
