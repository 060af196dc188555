"""Compose a spiking network from the layers of snnfer, train it, and test it on people it has not seen.

    python docs/tutorials/compose.py

takes about a minute on one core: SynthAU people act four Action Units (once generated, they are kept in the cache), and
each of them is held out once. docs/tutorials/compose.md explains it line by line.
"""

import argparse
import tempfile
from collections.abc import Sequence

import torch
from torch import nn

import snnfer as sf
from snnfer import layers
from snnfer.neurons import PLIF


@sf.models.register_model  # now create_model("my_snn"), train_classifier(model="my_snn") and benchmarks know it
def my_snn(*, n_classes: int = 4, in_channels: int = 2, size: Sequence[int] = (32, 32), width: int = 16):
    chain = layers.SpikingSequential(  # every layer maps [T, N, ...] to [T, N, ...]
        layers.ConvEncoder(in_channels, width, stride=2),  # event counts become spikes, at half the size
        layers.SEWBlock(width, width, neuron=PLIF),  # residual block that adds spikes to spikes
        layers.TemporalSpatialAttention(width, causal=True),  # weights steps and places; looks back alone
        layers.SpikingConv2d(width, 2 * width),  # convolution, normalisation, PLIF, max pooling
        nn.Flatten(2),  # [T, N, C, H, W] to [T, N, C * H * W]
        layers.TimeConstantDropout(0.2),  # one mask for all steps
        layers.SpikingLinear(2 * width * (size[0] // 4) * (size[1] // 4), 10 * n_classes),
        layers.VotingLayer(10),  # ten neurons vote for each class
    )
    return sf.models.SpikingClassifier(chain, in_channels=in_channels, size=size)


def load_clips(n_subjects: int, aus: tuple[int, ...]) -> sf.datasets.ClipTensors:
    """Event counts ``[25, 2, 32, 32]`` of every clip of a small SynthAU; your own: ``ManifestDataset.read(folder)``."""
    config = sf.synth.SynthConfig(n_subjects=n_subjects, n_repetitions=2, aus=aus, width=80, height=60)
    cache = sf.datasets.default_cache_dir()
    name = f"compose-{n_subjects}-" + "-".join(map(str, aus))
    data = sf.datasets.ManifestDataset.read(sf.synth.generate(cache / name, config))
    steps = sf.datasets.ClipInput(modality="events", window_us=99_000, n_steps=25, size=(32, 32))
    return sf.datasets.ClipTensors(data, steps, sf.datasets.ArrayCache(cache / "tensors"))


def hits_of(subject: str, clips: sf.datasets.ClipTensors, recipe: sf.training.TrainConfig) -> list[float]:
    """Train on everybody but `subject`; 1 for each of their clips that is then recognised, 0 for the others."""
    others = [name for name in clips.data.subjects if name != subject]
    with tempfile.TemporaryDirectory() as checkpoints:
        trained = sf.training.train_classifier(
            clips,
            model="my_snn",
            model_args={"width": 16},
            train_subjects=others,
            config=recipe,
            seed=0,
            checkpoint_dir=checkpoints,
        )
    test = clips.indices([subject])
    scores, _ = sf.training.clip_scores(trained.model, clips, test, mean=trained.mean, std=trained.std)
    return (scores.argmax(1) == torch.tensor([clips.labels[i] for i in test])).float().tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=4)
    parser.add_argument("--aus", type=int, nargs="+", default=[12, 26, 43, 51])
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args()

    clips = load_clips(arguments.subjects, tuple(arguments.aus))
    recipe = sf.training.TrainConfig(epochs=arguments.epochs, learning_rate=2e-3, max_shift_px=2, max_shift_steps=3)
    hits, subjects = [], []
    for subject in clips.data.subjects:
        found = hits_of(subject, clips, recipe)
        print(f"{subject}: {sum(found):.0f} of {len(found)} clips recognised, after training on the others")
        hits += found
        subjects += [subject] * len(found)
    accuracy = sf.metrics.subject_bootstrap(hits, subjects)
    print(
        f"accuracy {accuracy.estimate:.1%}, 95 % interval over {accuracy.n_subjects} people "
        f"[{accuracy.low:.1%}, {accuracy.high:.1%}], chance {1 / len(clips.data.class_names):.1%}"
    )


if __name__ == "__main__":
    main()
