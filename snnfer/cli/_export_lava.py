"""``snnfer export lava``: a netx file for Loihi-style chips, with the certificate of what it computes."""

import argparse
from typing import Any

from snnfer._words import count
from snnfer.cli._export_input import add_data_arguments, add_model_argument
from snnfer.errors import ConfigError


def add_action(actions: argparse._SubParsersAction) -> None:
    """Add ``lava``."""
    parser = actions.add_parser(
        "lava",
        help="write a network as a netx file for Loihi, and certify what it computes",
        description="Folds and quantises a trained spiking network, checks that lava and a chip would run the file as "
        "it says, runs it on clips of people that the network has not seen, and prints and saves the certificate: per "
        "layer, how far the integers and the network agree, and the accuracy of both. A layer that cannot be "
        "represented exactly is refused with the reason.",
    )
    add_model_argument(parser)
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write, such as net.net")
    add_data_arguments(parser, required=True)
    parser.add_argument("--calibration-clips", type=int, metavar="N",
                        help="clips of training subjects that ranges are taken from (default: 32)")  # fmt: skip
    parser.add_argument("--weight-bits", type=int, default=8, metavar="N", help="bits of a weight, 2 to 8 (default: 8)")
    parser.add_argument("--allow-approximate", action="store_true",
                        help="export layers without an exact counterpart too; their error is measured and stands in "
                        "the certificate")  # fmt: skip
    parser.add_argument("--lava", action="store_true",
                        help="also run the file on lava and put its mismatches and accuracy into the certificate "
                        "('snnfer simulate --setup-lava' builds lava's environment once)")  # fmt: skip
    parser.add_argument("--json", metavar="FILE",
                        help="where the certificate is saved (default: beside the file, with .json)")  # fmt: skip
    parser.set_defaults(run=export)


def export(args: argparse.Namespace) -> int:
    """Quantise, certify, write; exit code 1 where lava differs from the twin."""
    from pathlib import Path

    from snnfer._files import check_target, write_json
    from snnfer.cli._export_input import N_CALIBRATION, load_calibration, load_clips, load_exported
    from snnfer.cli._netx_metadata import describe_certified, describe_source
    from snnfer.cli.simulate import check_memory
    from snnfer.converters.from_model import to_graph
    from snnfer.converters.lava.environment import find_lava_python
    from snnfer.converters.lava.export import to_lava
    from snnfer.converters.loihi.quantise import quantise

    report = args.json or str(Path(args.out).with_suffix(".json"))
    for target in (args.out, report):
        check_target(target)
    if Path(report).absolute() == Path(args.out).absolute():
        raise ConfigError(f"file and certificate would both be '{report}'", fix="name the file .net")
    if args.lava:
        find_lava_python()  # says at once that there is none
    exported = load_exported(args.model)
    source = describe_source(exported)
    settings: dict[str, Any] = {
        "weight_bits": args.weight_bits,
        "graded": bool(source["message_bits"]),
        "allow_approximate": args.allow_approximate,
    }
    integer = quantise(to_graph(exported.model), **settings)  # refuses what cannot be exported, before clips are read
    n_calibration = N_CALIBRATION if args.calibration_clips is None else args.calibration_clips
    calibration = load_calibration(exported, args.data, n_clips=n_calibration)
    clips = load_clips(exported, args.data, n_clips=args.clips)
    if args.lava:
        check_memory(integer, clips)
    print(
        f"ranges from {count(calibration.x.shape[1], 'clip')} of {', '.join(calibration.subjects)}; "
        f"certified on {count(clips.x.shape[1], 'clip')} of {', '.join(clips.subjects)}"
    )
    certificate = to_lava(
        exported.model, args.out, sample=clips.x, labels=clips.labels, lengths=clips.lengths,
        calibration=calibration.x, verify=args.lava, metadata=source, **settings,
    )  # fmt: skip
    print(certificate.table())
    about = {"file": args.out, **describe_certified(args.model, args.data, calibration, clips)}
    write_json(report, {**certificate.to_dict(), **about, **source})
    print(f"file: {args.out}\ncertificate: {report}, and in the file")
    return int(bool(certificate.simulator_mismatches))
