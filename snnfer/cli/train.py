"""``snnfer train``: train one model on a data set and write a model folder."""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from snnfer.cli._train_settings import (
    check_same_input,
    check_unseen,
    divide_subjects,
    load_generator,
    load_samples,
    read_settings,
    settings_hash,
)
from snnfer.cli._train_start import load_start, take_over


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``train``."""
    parser = subparsers.add_parser(
        "train",
        help="train one model on a data set and write a model folder",
        description="Trains on all subjects but those of --hold-out, which are then tested. Run again after an "
        "interruption, it goes on from the last complete epoch. Models such as pix2pix learn to reconstruct the frames "
        "(--target) from the events.",
    )
    parser.add_argument("data", help="manifest CSV or the folder that holds manifest.csv")
    parser.add_argument("--out", required=True, metavar="DIR", help="model folder to write")
    parser.add_argument("--model", help="model name (default: au_snn, or that of --init)")
    parser.add_argument("--modality", choices=("events", "rgb", "gray", "depth", "rgbd"),
                        help="default: events, or that of --init; rgbd: red, green, blue and depth")  # fmt: skip
    parser.add_argument("--target", default="rgb", choices=("rgb", "gray"),
                        help="frames that a reconstruction model learns (default: rgb)")  # fmt: skip
    parser.add_argument("--encoder", default="", metavar="DIR",
                        help="for evtransfer: folder of a trained pix2pix model, whose encoder is taken over; its "
                        "copy in OUT/generator lets predict show the face")  # fmt: skip
    parser.add_argument("--init", default="", metavar="DIR",
                        help="trained classifier to start from: its weights, input and architecture")  # fmt: skip
    parser.add_argument("--quantize", default="none", choices=("none", "loihi"),
                        help="loihi: the last fifth of the epochs (with --init all of them) computes with the 8-bit "
                        "weights of the export, so that those are what is trained")  # fmt: skip
    parser.add_argument("--hold-out", nargs="*", default=[], metavar="SUBJECT", help="subjects to test only")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="settings of data, windows, train or model, such as train.epochs=20 or "
                        "data.size=[32,32]; may be repeated")  # fmt: skip
    parser.set_defaults(run=train)


def train(args: argparse.Namespace) -> int:
    """Train, save and, where subjects are held out, test."""
    from snnfer._config import to_dict
    from snnfer._memory import retain_freed_memory
    from snnfer._progress import progress
    from snnfer.benchmark.data import load_dataset
    from snnfer.datasets import ClipTensors, WindowPairs, WindowSamples
    from snnfer.training import save_model, train_classifier
    from snnfer.training.trainer import remove_checkpoints

    retain_freed_memory()
    start = load_start(args)
    generator = load_generator(args)
    settings = read_settings(args, generator, start)
    data = load_dataset(settings.data)
    if generator is not None:
        check_unseen(generator, data, args.hold_out)
    if start is not None:
        check_unseen(start, data, args.hold_out, name="model of --init")
    n_validation = getattr(settings.train, "validation_subjects", 0)
    train_subjects, validation = divide_subjects(data, args.hold_out, n_validation)
    samples = load_samples(data, settings, args)
    quantized = getattr(settings.train, "quantize", "none") != "none"
    if quantized:
        check_chip_input(samples.input)
    checkpoint_dir = f"{args.out}/checkpoint-{settings_hash(settings, args, train_subjects)}"
    with progress(total=settings.train.epochs, desc="training", unit="epoch") as bar:

        def on_epoch(epoch: int, loss: float) -> None:
            bar.update(epoch - bar.n)
            bar.set_postfix(loss=f"{loss:.4f}")

        options = {
            "model": args.model,
            "model_args": settings.model,
            "config": settings.train,
            "seed": args.seed,
            "checkpoint_dir": checkpoint_dir,
            "on_epoch": on_epoch,
            "record": {"held_out_subjects": list(args.hold_out), "crop": settings.data.crop},
        }
        if isinstance(samples, WindowSamples):
            options["record"]["windows"] = to_dict(settings.windows)
        if isinstance(samples, WindowPairs):
            trained = _train_reconstruction(samples, train_subjects, options)
        else:
            prepare = _preparation(samples, generator, start)
            trained = train_classifier(
                samples, train_subjects=train_subjects, validation_subjects=validation, prepare=prepare, **options
            )
    save_model(args.out, trained)
    if generator is not None:
        save_model(f"{args.out}/generator", generator)
    remove_checkpoints(checkpoint_dir)
    n, kind = len(samples.indices(train_subjects)), "clips" if isinstance(samples, ClipTensors) else "windows"
    print(f"trained {args.model} on {n} {kind} of {len(train_subjects)} subjects")
    if args.hold_out:
        score = held_out_quality if isinstance(samples, WindowPairs) else held_out_accuracy
        print(f"held out {', '.join(args.hold_out)}: {score(trained, samples, args.hold_out)} {kind}")
        if quantized:
            print(f"the same as integers: {integer_accuracy(trained, samples, args.hold_out)} {kind}")
    print(f"model: {args.out}")
    return 0


def _preparation(samples: Any, generator: Any, start: Any) -> Callable[[Any], None] | None:
    """What a new network takes over from one that was trained before."""
    from snnfer.models import encoder_from

    if start is not None:
        return lambda network: take_over(network, samples, start)
    if generator is None:
        return None
    check_same_input(samples, generator)
    return lambda network: network.load_encoder(encoder_from(generator.model))


def _train_reconstruction(pairs: Any, subjects: Sequence[str], options: dict[str, Any]) -> Any:
    from snnfer.training import train_reconstruction

    options["record"] |= {"data": pairs.data.name, "train_subjects": list(subjects)}
    return train_reconstruction(pairs, train=pairs.indices(subjects), **options)


def held_out_accuracy(trained: Any, samples: Any, subjects: Sequence[str]) -> str:
    """Accuracy on the samples of held-out subjects."""
    from snnfer.training.scoring import clip_scores

    test = samples.indices(subjects)
    scores, _ = clip_scores(trained.model, samples, test, mean=trained.mean, std=trained.std)
    return _accuracy(scores, samples, test)


def integer_accuracy(trained: Any, samples: Any, subjects: Sequence[str]) -> str:
    """The same of the integers that an export makes of the network, run by the twin."""
    import torch

    from snnfer.cli._netx_metadata import message_bits
    from snnfer.converters.from_model import to_graph
    from snnfer.converters.loihi import quantise, run_twin
    from snnfer.training.scoring import clip_loader

    test = samples.indices(subjects)
    integer, graded = quantise(to_graph(trained.model)), bool(message_bits(trained))
    results = [
        run_twin(integer, x, graded=graded, record="output").scores(lengths)
        for x, _, lengths in clip_loader(samples, test, 8)
    ]
    return _accuracy(torch.cat(results), samples, test)


def _accuracy(scores: Any, samples: Any, test: Sequence[int]) -> str:
    import numpy as np

    from snnfer.metrics import top_k_accuracy

    labels = np.array(samples.labels)[list(test)]
    top1, top3 = (top_k_accuracy(scores.numpy(), labels, k) for k in (1, 3))
    return f"top-1 {top1:.1%}, top-3 {top3:.1%} of {len(test)}"


def check_chip_input(given: Any) -> None:
    """Raise `ExportError` unless a chip can take the input of the network to train."""
    from types import SimpleNamespace

    from snnfer.cli._netx_metadata import message_bits

    mean, std = given.normalisation or ((0.0,), (1.0,))
    message_bits(SimpleNamespace(mean=mean, std=std, input=given))


def held_out_quality(trained: Any, pairs: Any, subjects: Sequence[str]) -> str:
    """Mean quality of the reconstructions of held-out subjects."""
    import torch

    from snnfer.metrics import reconstruction_scores
    from snnfer.training import reconstruct_pairs

    test = pairs.indices(subjects)
    parts = [reconstruction_scores(*pair) for pair in reconstruct_pairs(trained, pairs, test)]
    mean = {key: float(torch.cat([part[key] for part in parts]).mean()) for key in ("psnr", "ssim")}
    return f"PSNR {mean['psnr']:.2f} dB, SSIM {mean['ssim']:.3f}, mean of {len(test)}"
