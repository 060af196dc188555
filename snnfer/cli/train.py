"""``snnfer train``: train one model on a data set and write a model folder."""

import argparse
from collections.abc import Sequence
from typing import Any


def add_commands(subparsers: argparse._SubParsersAction) -> None:
    """Add ``train``."""
    parser = subparsers.add_parser(
        "train",
        help="train one model on a data set and write a model folder",
        description="Trains on all subjects but those of --hold-out, which are then tested. Run again after an "
        "interruption, it goes on from the last complete epoch.",
    )
    parser.add_argument("data", help="manifest CSV or the folder that holds manifest.csv")
    parser.add_argument("--out", required=True, metavar="DIR", help="model folder to write")
    parser.add_argument("--model", default="au_snn", help="model name (default: au_snn)")
    parser.add_argument("--modality", default="events", choices=("events", "rgb", "gray"), help="default: events")
    parser.add_argument("--hold-out", nargs="*", default=[], metavar="SUBJECT", help="subjects to test only")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE",
                        help="settings of data, train or model, such as train.epochs=20 or "
                        "data.size=[32,32]; may be repeated")  # fmt: skip
    parser.set_defaults(run=train)


def train(args: argparse.Namespace) -> int:
    """Train, save and, where subjects are held out, test."""
    from snnfer._memory import retain_freed_memory
    from snnfer._progress import progress
    from snnfer.benchmark.data import load_dataset, load_tensors
    from snnfer.training import save_model
    from snnfer.training.classifier import train_classifier
    from snnfer.training.trainer import remove_checkpoints

    retain_freed_memory()
    settings = read_settings(args)
    data = load_dataset(settings.data)
    train_subjects, validation = divide_subjects(data, args.hold_out, settings.train.validation_subjects)
    clips = load_tensors(data, settings.data, args.modality)
    checkpoint_dir = f"{args.out}/checkpoint-{settings_hash(settings, args, train_subjects)}"
    with progress(total=settings.train.epochs, desc="training", unit="epoch") as bar:

        def on_epoch(epoch: int, loss: float) -> None:
            bar.update(epoch - bar.n)
            bar.set_postfix(loss=f"{loss:.4f}")

        trained = train_classifier(
            clips,
            model=args.model,
            model_args=settings.model,
            train_subjects=train_subjects,
            validation_subjects=validation,
            config=settings.train,
            seed=args.seed,
            checkpoint_dir=checkpoint_dir,
            on_epoch=on_epoch,
            record={"held_out_subjects": list(args.hold_out), "crop": settings.data.crop},
        )
    save_model(args.out, trained)
    remove_checkpoints(checkpoint_dir)
    print(f"trained {args.model} on {len(clips.indices(train_subjects))} clips of {len(train_subjects)} subjects")
    if args.hold_out:
        print(held_out_accuracy(trained, clips, args.hold_out))
    print(f"model: {args.out}")
    return 0


def read_settings(args: argparse.Namespace) -> Any:
    """The settings of data, training and model after ``--set``."""
    from dataclasses import field, make_dataclass

    from snnfer._config import apply_overrides, build_config
    from snnfer.benchmark.config import DataConfig
    from snnfer.training import TrainConfig

    groups = [
        ("data", DataConfig),
        ("train", TrainConfig, field(default_factory=TrainConfig)),
        ("model", dict[str, Any], field(default_factory=dict)),
    ]
    settings = make_dataclass("TrainSettings", groups, frozen=True)
    values = {"data": {"dataset": "manifest", "root": args.data}}
    return build_config(settings, apply_overrides(values, args.overrides), source="--set")


def divide_subjects(data: Any, hold_out: Sequence[str], n_validation: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Training and validation subjects among those that are not held out."""
    from snnfer.errors import ConfigError

    data.select(hold_out)  # refuses an unknown subject
    others = [subject for subject in data.subjects if subject not in hold_out]
    if len(others) <= n_validation:
        raise ConfigError(
            f"{len(others)} of {len(data.subjects)} subjects are left to train on",
            expected=f"more than {n_validation}",
            fix="hold out fewer subjects",
        )
    n_train = len(others) - n_validation
    return tuple(others[:n_train]), tuple(others[n_train:])


def settings_hash(settings: Any, args: argparse.Namespace, train_subjects: Sequence[str]) -> str:
    """Hash of everything a checkpoint depends on, so that changed settings begin anew."""
    from snnfer._config import to_dict
    from snnfer._files import hash_value

    return hash_value([to_dict(settings), args.model, args.modality, args.seed, list(train_subjects)], length=8)


def held_out_accuracy(trained: Any, clips: Any, subjects: Sequence[str]) -> str:
    """One line on the clips of held-out subjects."""
    import numpy as np

    from snnfer.metrics import top_k_accuracy
    from snnfer.training.scoring import clip_scores

    test = clips.indices(subjects)
    scores, _ = clip_scores(trained.model, clips, test, mean=trained.mean, std=trained.std)
    labels = np.array(clips.labels)[test]
    top1, top3 = (top_k_accuracy(scores.numpy(), labels, k) for k in (1, 3))
    return f"held out {', '.join(subjects)}: top-1 {top1:.1%}, top-3 {top3:.1%} of {len(test)} clips"
