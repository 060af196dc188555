"""``snnfer train``: train one model on a data set and write a model folder."""

import argparse
from collections.abc import Sequence
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
    parser.add_argument("--model", default="au_snn", help="model name (default: au_snn)")
    parser.add_argument("--modality", default="events", choices=("events", "rgb", "gray", "depth", "rgbd"),
                        help="default: events; rgbd: red, green, blue and depth")  # fmt: skip
    parser.add_argument("--target", default="rgb", choices=("rgb", "gray"),
                        help="frames that a reconstruction model learns (default: rgb)")  # fmt: skip
    parser.add_argument("--encoder", default="", metavar="DIR",
                        help="for evtransfer: folder of a trained pix2pix model, whose encoder is taken over; its "
                        "copy in OUT/generator lets predict show the face")  # fmt: skip
    parser.add_argument("--hold-out", nargs="*", default=[], metavar="SUBJECT", help="subjects to test only")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="settings of data, windows, train or model, such as train.epochs=20 or "
                        "data.size=[32,32]; may be repeated")  # fmt: skip
    parser.set_defaults(run=train)


def train(args: argparse.Namespace) -> int:
    """Train, save and, where subjects are held out, test."""
    from snnfer._memory import retain_freed_memory
    from snnfer._progress import progress
    from snnfer.benchmark.data import load_dataset
    from snnfer.datasets import ClipTensors, WindowPairs
    from snnfer.training import save_model
    from snnfer.training.trainer import remove_checkpoints

    retain_freed_memory()
    generator = load_generator(args)
    settings = read_settings(args, generator)
    data = load_dataset(settings.data)
    if generator is not None:
        check_unseen(generator, data, args.hold_out)
    n_validation = getattr(settings.train, "validation_subjects", 0)
    train_subjects, validation = divide_subjects(data, args.hold_out, n_validation)
    samples = load_samples(data, settings, args)
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
        if isinstance(samples, WindowPairs):
            trained = _train_reconstruction(samples, train_subjects, options)
        else:
            trained = _train_classifier(samples, train_subjects, validation, generator, options)
    save_model(args.out, trained)
    if generator is not None:
        save_model(f"{args.out}/generator", generator)
    remove_checkpoints(checkpoint_dir)
    n, kind = len(samples.indices(train_subjects)), "clips" if isinstance(samples, ClipTensors) else "windows"
    print(f"trained {args.model} on {n} {kind} of {len(train_subjects)} subjects")
    if args.hold_out:
        score = held_out_quality if isinstance(samples, WindowPairs) else held_out_accuracy
        print(f"held out {', '.join(args.hold_out)}: {score(trained, samples, args.hold_out)} {kind}")
    print(f"model: {args.out}")
    return 0


def _train_classifier(
    samples: Any, subjects: Sequence[str], validation: Sequence[str], generator: Any, options: dict[str, Any]
) -> Any:
    from snnfer.models import encoder_from
    from snnfer.training import train_classifier

    def take_over(network: Any) -> None:
        network.load_encoder(encoder_from(generator.model))

    if generator is not None:
        check_same_input(samples, generator)
    prepare = None if generator is None else take_over
    return train_classifier(
        samples, train_subjects=subjects, validation_subjects=validation, prepare=prepare, **options
    )


def _train_reconstruction(pairs: Any, subjects: Sequence[str], options: dict[str, Any]) -> Any:
    from snnfer.training import train_reconstruction

    options["record"] |= {"data": pairs.data.name, "train_subjects": list(subjects)}
    return train_reconstruction(pairs, train=pairs.indices(subjects), **options)


def held_out_accuracy(trained: Any, samples: Any, subjects: Sequence[str]) -> str:
    """Accuracy on the samples of held-out subjects."""
    import numpy as np

    from snnfer.metrics import top_k_accuracy
    from snnfer.training.scoring import clip_scores

    test = samples.indices(subjects)
    scores, _ = clip_scores(trained.model, samples, test, mean=trained.mean, std=trained.std)
    labels = np.array(samples.labels)[test]
    top1, top3 = (top_k_accuracy(scores.numpy(), labels, k) for k in (1, 3))
    return f"top-1 {top1:.1%}, top-3 {top3:.1%} of {len(test)}"


def held_out_quality(trained: Any, pairs: Any, subjects: Sequence[str]) -> str:
    """Mean quality of the reconstructions of held-out subjects."""
    import torch

    from snnfer.metrics import reconstruction_scores
    from snnfer.training import reconstruct_pairs

    test = pairs.indices(subjects)
    parts = [reconstruction_scores(*pair) for pair in reconstruct_pairs(trained, pairs, test)]
    mean = {key: float(torch.cat([part[key] for part in parts]).mean()) for key in ("psnr", "ssim")}
    return f"PSNR {mean['psnr']:.2f} dB, SSIM {mean['ssim']:.3f}, mean of {len(test)}"
