"""``snnfer export nir``: a network for spikingjelly, norse, snnTorch and whatever else reads NIR."""

import argparse
from typing import Any

from snnfer._words import count
from snnfer.cli._export_input import add_data_arguments, add_model_argument
from snnfer.errors import ConfigError

LIBRARIES = ("spikingjelly", "norse", "snntorch")
N_STEPS = 20
"""Steps of random input."""
MEAN_COUNT = 0.2
"""Mean of random event counts: enough for the first neurons of an untrained network to fire."""


def add_action(actions: argparse._SubParsersAction) -> None:
    """Add ``nir``."""
    parser = actions.add_parser(
        "nir",
        help="write a network as NIR, and prove that other libraries compute the same",
        description="Writes a spiking network as NIR (HDF5) in a profile that spikingjelly, norse and snnTorch compute "
        "alike: normalisation folded, resistance 1, max pooling of spikes as neurons of their own. With --verify the "
        "file is read by those libraries and the spikes of every layer are compared with the network's. What has no "
        "exact counterpart in NIR is refused.",
    )
    add_model_argument(parser, by_name=True)
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write, such as net.nir")
    parser.add_argument("--dt", type=float, metavar="SECONDS",
                        help="duration of a step that the file's time constants are for; changes nothing that is "
                        "computed (default: 1e-4, the one that snnTorch assumes)")  # fmt: skip
    parser.add_argument("--verify", action="append", default=[], choices=(*LIBRARIES, "all"), metavar="LIBRARY",
                        help="library to compare in: " + ", ".join(LIBRARIES) + " or all; can be repeated")  # fmt: skip
    add_data_arguments(parser)
    parser.add_argument("--json", metavar="FILE", help="write what the comparison found as JSON")
    parser.set_defaults(run=export)


def export(args: argparse.Namespace) -> int:
    """Write the file, read it again everywhere, and compare."""
    from snnfer._files import check_target, write_json
    from snnfer.cli._export_input import load_exported
    from snnfer.converters.nir.export import PORTABLE_DT_S, to_nir
    from snnfer.converters.nir.verify import verify_nir

    check_arguments(args)
    for target in filter(None, (args.out, args.json)):
        check_target(target)
    exported = load_exported(args.model, args.overrides)
    graph = to_nir(exported.model, args.out, dt_s=PORTABLE_DT_S if args.dt is None else args.dt)
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    neurons, weights = kinds.count("LIF"), sum(kinds.count(kind) for kind in ("Conv2d", "Affine"))
    layers = f"{count(weights, 'layer')} of weights, {neurons} of neurons"
    print(f"{args.out}: {layers}, steps of {graph.metadata['dt_s']:g} s")
    found = []
    if args.verify:
        x, what = clips(args, exported)
        print(f"compared on {what}")
        for library in LIBRARIES if "all" in args.verify else dict.fromkeys(args.verify):
            found.append(verify_nir(args.out, x, library, model=exported.model))
            print("\n".join(["", found[-1].table(), found[-1].summary()]))
    if args.json:
        write_json(args.json, {"file": args.out, "comparisons": [result.to_dict() for result in found]})
        print(f"comparison: {args.json}")
    return 0 if all(result.agrees for result in found) else 1


def check_arguments(args: argparse.Namespace) -> None:
    """Raise `ConfigError` for arguments that exclude or miss each other."""
    if not args.verify:
        for name in ("data", "clips", "json"):
            if getattr(args, name) is not None:
                raise ConfigError(f"--{name} without --verify", fix="add --verify norse, or all")
    if args.clips is not None and not args.data:
        raise ConfigError("--clips without --data", fix="add --data DIR, or leave --clips out")


def clips(args: argparse.Namespace, exported: Any) -> tuple[Any, str]:
    """Input ``[T, N, C, H, W]``, and what it is in words."""
    import torch

    from snnfer.cli._export_input import load_clips

    if args.data:
        loaded = load_clips(exported, args.data, n_clips=args.clips)
        subjects = ", ".join(loaded.subjects)
        return loaded.x, f"{count(loaded.x.shape[1], 'clip')} of {count(loaded.x.shape[0], 'step')} ({subjects})"
    config = exported.model.config
    shape = (N_STEPS, 2, config["in_channels"], *config["size"])
    counts = torch.poisson(torch.full(shape, MEAN_COUNT), generator=torch.Generator().manual_seed(0))
    return counts, f"2 clips of {N_STEPS} steps of random event counts (--data gives real ones)"
