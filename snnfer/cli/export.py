"""``snnfer export``: can a network go to a chip, and its file for one; each action is a module ``_export_<action>``."""

import argparse
import importlib

ACTIONS = ("check", "lava", "nir")


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``export`` and its actions."""
    parser = subparsers.add_parser(
        "export",
        help="check and write a network for neuromorphic chips and other libraries",
        description="Every export is run again and compared with the network; what cannot be exact is refused.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=type(parser))
    for action in ACTIONS:
        importlib.import_module(f"snnfer.cli._export_{action}").add_action(actions)
