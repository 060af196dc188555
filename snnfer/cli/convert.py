"""``snnfer convert``: a spiking network from a trained network without spikes."""

import argparse
from typing import Any

from snnfer._words import count
from snnfer.cli._convert_sigma_delta import convert_encoder, save_graph
from snnfer.cli._export_input import N_CALIBRATION
from snnfer.errors import ConfigError


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``convert``."""
    parser = subparsers.add_parser(
        "convert",
        help="turn a trained network without spikes into a spiking one",
        description="Replaces every ReLU by spiking neurons and every LeakyReLU by two populations of them, whose "
        "firing rates stand for the activations. Thresholds come from clips of training subjects; the report is "
        "measured on subjects that were held out, where there are any. The result is a model folder for "
        "'snnfer predict' and 'snnfer profile'.",
    )
    parser.add_argument("model", help="model folder made by 'snnfer train', such as one of evtransfer")
    parser.add_argument("--to", choices=("snn",), default="snn", help="form of the result (default: snn)")
    parser.add_argument("--method", choices=("rate", "qcfs", "sigma-delta"), default="rate",
                        help="rate: calibrate only (default); qcfs: train quantised activations first; sigma-delta: "
                        "integers whose neurons send changes, with a graph file for Loihi 2")  # fmt: skip
    parser.add_argument("--part", choices=("network", "encoder"), default="network",
                        help="of sigma-delta: the whole network (default), or a file of its encoder alone, for "
                        "classifiers that have no such form, as LSTMs")  # fmt: skip
    parser.add_argument("--calibration", metavar="DIR", required=True,
                        help="data set of the training: training subjects calibrate, others measure")  # fmt: skip
    parser.add_argument("--calibration-clips", type=int, metavar="N", default=N_CALIBRATION,
                        help=f"clips that calibrate, taken evenly (default: {N_CALIBRATION})")  # fmt: skip
    parser.add_argument("--clips", type=int, metavar="N", help="clips that measure, taken evenly (default: all)")
    parser.add_argument("--steps", type=int, metavar="N", default=32, help="simulation steps per image (default: 32)")
    parser.add_argument("--max-steps", type=int, metavar="N",
                        help="last number of steps of the curve (default: that of --steps)")  # fmt: skip
    parser.add_argument("--balancing", choices=("percentile", "local"), default="percentile",
                        help="thresholds of rate: percentile of the activations (default), or least error")  # fmt: skip
    parser.add_argument("--percentile", type=float, metavar="P", default=99.9,
                        help="of the activations of a channel (default: 99.9)")  # fmt: skip
    parser.add_argument("--levels", type=int, metavar="N", default=8, help="levels of qcfs (default: 8)")
    parser.add_argument("--tolerance", type=float, metavar="SHARE", default=0.01,
                        help="loss of accuracy that the recommended steps allow (default: 0.01)")  # fmt: skip
    parser.add_argument("--out", metavar="DIR", required=True, help="model folder to write")
    parser.add_argument("--plot", metavar="FILE", help="picture of accuracy over steps (.png, .pdf, .svg)")
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON")
    parser.set_defaults(run=convert)


def convert(args: argparse.Namespace) -> int:
    """Convert, print the report, and write the folder and what else was asked for."""
    from snnfer._files import write_json
    from snnfer.cli._export_input import load_exported, load_images
    from snnfer.converters.ann_to_snn import ann_to_snn
    from snnfer.converters.ann_to_snn.convert import powers_of_two

    check_arguments(args)
    exported = load_exported(args.model)
    if exported.trained is None:
        raise ConfigError(
            f"the untrained model '{args.model}'", expected="a model folder", fix="train it first: snnfer train"
        )
    calibration = load_images(exported, args.calibration, group="train", n_clips=args.calibration_clips)
    measured, where = _measured(exported, args, calibration)
    if args.part == "encoder":
        return convert_encoder(args, exported, calibration.x, measured.x, measured.labels, where)
    snn, report = ann_to_snn(
        exported.model,
        calibration=calibration.x,
        evaluation=measured.x,
        labels=measured.labels,
        method=args.method.replace("-", "_"),
        n_steps=args.steps,
        balancing=args.balancing,
        percentile=args.percentile,
        levels=args.levels,
        curve_steps=sorted({*powers_of_two(args.max_steps or args.steps), args.steps}),
        tolerance=args.tolerance,
    )
    source = f"{count(len(calibration.x), 'image')} of {', '.join(calibration.subjects)}"
    print(f"{exported.name}: ranges from {source}; {where}\n")
    print(report.table())
    values = {"model": args.model, "measured_on": where, **report.to_dict()}
    save_converted(args.out, exported.trained, snn, values)
    if args.method == "sigma-delta":
        save_graph(args.out, exported, snn, values)
    print(f"spiking network: {args.out}")
    if args.json:
        write_json(args.json, values)
        print(f"report: {args.json}")
    if args.plot:
        save_plot(args.plot, args.method, report)
        print(f"picture: {args.plot}")
    return 0


def check_arguments(args: argparse.Namespace) -> None:
    """Raise `SnnferError` for numbers and files that cannot be used, before any work."""
    from snnfer._files import check_target
    from snnfer._optional import require
    from snnfer.plot.style import check_picture

    for name in ("steps", "max_steps", "calibration_clips", "clips", "levels"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} {value}", expected="a number above 0")
    if not 0 <= args.tolerance < 1:
        raise ConfigError(f"--tolerance {args.tolerance}", expected="a share from 0 to below 1, such as 0.01")
    check_target(f"{args.out}/config.json")
    for target in filter(None, (args.plot, args.json)):
        check_target(target)
    if args.part == "encoder" and args.method != "sigma-delta":
        raise ConfigError(f"--part encoder with --method {args.method}", expected="--method sigma-delta")
    if args.plot and args.method == "sigma-delta":
        raise ConfigError("--plot with sigma-delta", expected="rate or qcfs, whose accuracy depends on the steps")
    if args.plot:
        check_picture(args.plot)
        require("matplotlib.figure", extra="plot")


def _measured(exported: Any, args: argparse.Namespace, calibration: Any) -> tuple[Any, str]:
    """Images of held-out subjects; those of the calibration where there are none."""
    from snnfer.cli._export_input import load_images
    from snnfer.errors import ProtocolError

    try:
        images = load_images(exported, args.calibration, group="test", n_clips=args.clips)
    except ProtocolError:
        return calibration, "measured on the same images: no subject was held out in training"
    return images, f"measured on {', '.join(images.subjects)}, who were not trained on"


def save_converted(folder: str, trained: Any, snn: Any, report: dict[str, Any]) -> None:
    """A model folder that `snnfer.load_model` reads, with the report in its config."""
    import dataclasses

    from snnfer.training import save_model

    training = {**trained.training, "conversion": report}
    save_model(folder, dataclasses.replace(trained, model=snn, training=training))


def save_plot(path: str, name: str, report: Any) -> None:
    """The curve as a picture: accuracy, or agreement without labels."""
    from snnfer.plot.conversion import plot_accuracy_over_steps
    from snnfer.plot.style import save_figure

    has_labels = report.ann_accuracy is not None
    points = [(row.n_steps, row.accuracy if has_labels else row.agreement) for row in report.curve]
    figure = plot_accuracy_over_steps(
        {name: points},
        reference=report.ann_accuracy,
        recommended=report.recommended_steps,
        ylabel="accuracy (%)" if has_labels else "agreement with the network without spikes (%)",
    )
    save_figure(figure, path)
